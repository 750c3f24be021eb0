# Device Defender looks every day whether certificates run out, are shared or revoked and in use, whether policies are too
# wide, and says so on the alarms' topic. The AWS provider has no resource for it; CloudFormation has. It is one setting for
# the whole account and region.

resource "aws_cloudformation_stack" "defender" {
  #checkov:skip=CKV_AWS_124:a stack of two settings, made while somebody looks on; Terraform says when it fails
  count = var.account_settings ? 1 : 0

  name          = "${var.name}-defender"
  template_body = file("${path.module}/defender.yaml")

  parameters = {
    Account  = local.account
    RoleArn  = aws_iam_role.defender.arn
    TopicArn = var.topic_arn
    Name     = replace(var.name, "-", "_")
  }
}

resource "aws_iam_role" "defender" {
  name = "${var.name}-defender"

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

# What an audit reads is AWS's own list, and grows with its checks.
resource "aws_iam_role_policy_attachment" "defender" {
  role       = aws_iam_role.defender.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSIoTDeviceDefenderAudit"
}

resource "aws_iam_role_policy" "defender" {
  name = "tell"
  role = aws_iam_role.defender.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = var.topic_arn
      },
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.kms_key_arn
      },
    ]
  })
}
