# AWS IoT Core in front of the gateways: what devices and gateways may do there, and how devices become things.
# docs/aws-iot.md explains each policy; a check holds this module against it.

data "aws_caller_identity" "here" {}

data "aws_partition" "here" {}

data "aws_iot_endpoint" "data" {
  endpoint_type = "iot:Data-ATS"
}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  iot       = "arn:${local.partition}:iot:${var.region}:${local.account}"
  template  = var.name
}

resource "aws_iot_thing_type" "this" {
  name = var.name

  properties {
    description = "A device with the agent, or one that speaks MQTT by itself"
  }
}

# An authority of your own that AWS IoT Core is to know: then it takes the certificates that tributary-certs signs.
resource "aws_iot_ca_certificate" "own" {
  count = var.authority_pem == null ? 0 : 1

  ca_certificate_pem      = var.authority_pem
  certificate_mode        = "SNI_ONLY"
  active                  = true
  allow_auto_registration = var.register_on_first_connection

  # What a certificate that is shown for the first time becomes: the thing that its common name says.
  dynamic "registration_config" {
    for_each = var.register_on_first_connection ? [1] : []

    content {
      role_arn      = aws_iam_role.provisioning.arn
      template_body = jsonencode(local.first_connection)
    }
  }
}

# Certificates come to be known without a thing at first; only the policy that is bound to the thing lets them do anything.
locals {
  first_connection = {
    Parameters = {
      "AWS::IoT::Certificate::CommonName" = { Type = "String" }
      "AWS::IoT::Certificate::Id"         = { Type = "String" }
    }
    Resources = {
      thing = {
        Type = "AWS::IoT::Thing"
        Properties = {
          ThingName     = { Ref = "AWS::IoT::Certificate::CommonName" }
          ThingTypeName = aws_iot_thing_type.this.name
        }
      }
      certificate = {
        Type       = "AWS::IoT::Certificate"
        Properties = { CertificateId = { Ref = "AWS::IoT::Certificate::Id" }, Status = "ACTIVE" }
      }
      policy = {
        Type       = "AWS::IoT::Policy"
        Properties = { PolicyName = aws_iot_policy.device.name }
      }
    }
  }
}
