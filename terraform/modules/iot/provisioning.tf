# Fleet provisioning: a device shows the claim, gives its request and its id, and becomes a thing of that name.

resource "aws_iot_provisioning_template" "this" {
  name                  = local.template
  description           = "Makes a thing of a device that shows the claim"
  enabled               = var.provisioning_open
  provisioning_role_arn = aws_iam_role.provisioning.arn
  type                  = "FLEET_PROVISIONING"

  # It decides which ids are to come. Without it, whoever has the claim's key can be any device.
  dynamic "pre_provisioning_hook" {
    for_each = var.provisioning_hook_arn == null ? [] : [var.provisioning_hook_arn]

    content {
      payload_version = "2020-04-01"
      target_arn      = pre_provisioning_hook.value
    }
  }

  template_body = jsonencode({
    Parameters = {
      SerialNumber                = { Type = "String" }
      "AWS::IoT::Certificate::Id" = { Type = "String" }
    }
    Resources = {
      thing = {
        Type       = "AWS::IoT::Thing"
        Properties = { ThingName = { Ref = "SerialNumber" }, ThingTypeName = aws_iot_thing_type.this.name }
      }
      certificate = {
        Type       = "AWS::IoT::Certificate"
        Properties = { CertificateId = { Ref = "AWS::IoT::Certificate::Id" }, Status = "Active" }
      }
      policy = {
        Type       = "AWS::IoT::Policy"
        Properties = { PolicyName = aws_iot_policy.device.name }
      }
    }
  })
}

resource "aws_iam_role" "provisioning" {
  name = "${var.name}-provisioning"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "iot.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

# What AWS's own AWSIoTThingsRegistration allows on everything, on no more than this template touches. Certificates have ids
# that nobody knows beforehand.
resource "aws_iam_role_policy" "provisioning" {
  name = "provision"
  role = aws_iam_role.provisioning.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["iot:CreateThing", "iot:DescribeThing", "iot:UpdateThing", "iot:ListThingPrincipals"]
        Resource = "${local.iot}:thing/*"
      },
      {
        Effect   = "Allow"
        Action   = "iot:DescribeThingType"
        Resource = aws_iot_thing_type.this.arn
      },
      {
        Effect = "Allow"
        Action = [
          "iot:DescribeCertificate", "iot:RegisterCertificate", "iot:UpdateCertificate", "iot:AttachThingPrincipal",
          "iot:ListPrincipalThings", "iot:ListPrincipalPolicies",
        ]
        Resource = "${local.iot}:cert/*"
      },
      {
        Effect   = "Allow"
        Action   = ["iot:AttachPolicy", "iot:AttachPrincipalPolicy", "iot:ListAttachedPolicies"]
        Resource = "${local.iot}:cert/*"
      },
      {
        Effect   = "Allow"
        Action   = ["iot:GetPolicy", "iot:AttachPolicy", "iot:AttachPrincipalPolicy"]
        Resource = aws_iot_policy.device.arn
      },
    ]
  })
}

# AWS IoT asks the hook as itself.
resource "aws_lambda_permission" "hook" {
  count = var.provisioning_hook_arn == null ? 0 : 1

  statement_id   = "${var.name}-provisioning"
  action         = "lambda:InvokeFunction"
  function_name  = var.provisioning_hook_arn
  principal      = "iot.amazonaws.com"
  source_account = local.account
  source_arn     = aws_iot_provisioning_template.this.arn
}
