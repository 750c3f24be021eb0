# Who may do what at the broker. `*` in a resource is AWS's wildcard, `+` and `#` stand for themselves; no policy has a
# resource or an action that is nothing but a wildcard.

locals {
  thing = "$${iot:Connection.Thing.ThingName}"
  own   = "trib/1/${local.thing}"
}

# One for all devices: AWS fills in which thing is connected, from its certificate.
resource "aws_iot_policy" "device" {
  name = "${var.name}-device"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "iot:Connect"
        Resource  = "${local.iot}:client/${local.thing}"
        Condition = { Bool = { "iot:Connection.Thing.IsAttached" = "true" } }
      },
      {
        Effect   = "Allow"
        Action   = "iot:Publish"
        Resource = [for end in ["batch", "senml", "hello", "status", "enrol"] : "${local.iot}:topic/${local.own}/${end}"]
      },
      {
        Effect   = "Allow"
        Action   = "iot:RetainPublish"
        Resource = "${local.iot}:topic/${local.own}/status"
      },
      {
        Effect   = "Allow"
        Action   = "iot:Subscribe"
        Resource = [for end in ["receipt", "enrol/answer"] : "${local.iot}:topicfilter/${local.own}/${end}"]
      },
      {
        Effect   = "Allow"
        Action   = "iot:Receive"
        Resource = [for end in ["receipt", "enrol/answer"] : "${local.iot}:topic/${local.own}/${end}"]
      },
    ]
  })
}

# The claim certificate that new devices share: ask for a certificate, hear the answer, nothing else. Whom it asks is AWS IoT
# itself, or the gateway where that is the desk.
locals {
  fleet = ["$aws/certificates/create-from-csr/*", "$aws/provisioning-templates/${local.template}/provision/*"]
  asks = {
    publish = var.gateway_is_desk ? ["trib/1/claim-*/enrol"] : local.fleet
    hear    = var.gateway_is_desk ? ["trib/1/claim-*/enrol/answer"] : local.fleet
  }
}

resource "aws_iot_policy" "claim" {
  name = "${var.name}-claim"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "iot:Connect"
        Resource = "${local.iot}:client/claim-*"
      },
      {
        Effect   = "Allow"
        Action   = "iot:Publish"
        Resource = [for topic in local.asks.publish : "${local.iot}:topic/${topic}"]
      },
      {
        Effect   = "Allow"
        Action   = "iot:Receive"
        Resource = [for topic in local.asks.hear : "${local.iot}:topic/${topic}"]
      },
      {
        Effect   = "Allow"
        Action   = "iot:Subscribe"
        Resource = [for topic in local.asks.hear : "${local.iot}:topicfilter/${topic}"]
      },
    ]
  })
}

# Gateways: hear all devices by shared subscriptions, and answer them.
resource "aws_iot_policy" "gateway" {
  name = "${var.name}-gateway"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "iot:Connect"
        Resource = "${local.iot}:client/${var.name}-gateway-*"
      },
      {
        Effect = "Allow"
        Action = "iot:Subscribe"
        Resource = [for end in ["batch", "senml", "hello", "status", "command/result", "config/reported", "enrol"] :
        "${local.iot}:topicfilter/$share/tributary/trib/1/+/${end}"]
      },
      {
        Effect = "Allow"
        Action = "iot:Receive"
        Resource = [for end in ["batch", "senml", "hello", "status", "command/result", "config/reported", "enrol"] :
        "${local.iot}:topic/trib/1/*/${end}"]
      },
      {
        Effect   = "Allow"
        Action   = "iot:Publish"
        Resource = [for end in ["receipt", "command", "config", "enrol/answer"] : "${local.iot}:topic/trib/1/*/${end}"]
      },
    ]
  })
}

# Who the gateways are there. The key is made by the operator and stays with him: only its request is given here.
resource "aws_iot_certificate" "gateway" {
  count = var.gateway_csr_pem == null ? 0 : 1

  csr    = var.gateway_csr_pem
  active = true
}

resource "aws_iot_policy_attachment" "gateway" {
  count = var.gateway_csr_pem == null ? 0 : 1

  policy = aws_iot_policy.gateway.name
  target = aws_iot_certificate.gateway[0].arn
}
