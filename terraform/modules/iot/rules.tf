# Readings do not go through rules: gateways take them as clients, because a rule cannot commit them with the ledger. What
# goes through a rule is who came and went, for whoever looks into a silence.

resource "aws_cloudwatch_log_group" "presence" {
  name              = "/${var.name}/presence"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

# What a rule could not deliver. An alarm watches that it stays empty.
resource "aws_cloudwatch_log_group" "undelivered" {
  name              = "/${var.name}/undelivered"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_iot_topic_rule" "presence" {
  name        = "${replace(var.name, "-", "_")}_presence"
  description = "Who connected and who left"
  enabled     = true
  sql         = "SELECT eventType, clientId, disconnectReason, timestamp FROM '$aws/events/presence/+/+'"
  sql_version = "2016-03-23"

  cloudwatch_logs {
    log_group_name = aws_cloudwatch_log_group.presence.name
    role_arn       = aws_iam_role.logs.arn
  }

  error_action {
    cloudwatch_logs {
      log_group_name = aws_cloudwatch_log_group.undelivered.name
      role_arn       = aws_iam_role.logs.arn
    }
  }
}

# Log groups that AWS IoT itself writes, by a name that is its own.
locals {
  aws_iot_logs = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:AWSIotLogsV2"
}

resource "aws_iam_role" "logs" {
  name = "${var.name}-iot-logs"

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

resource "aws_iam_role_policy" "logs" {
  name = "write"
  role = aws_iam_role.logs.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Action = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = [for group in [aws_cloudwatch_log_group.presence.arn, aws_cloudwatch_log_group.undelivered.arn] :
        "${group}:*"]
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", "logs:PutRetentionPolicy"]
        Resource = [local.aws_iot_logs, "${local.aws_iot_logs}:*"]
      },
    ]
  })
}

# One setting for the whole account and region.
resource "aws_iot_logging_options" "this" {
  count = var.account_settings ? 1 : 0

  default_log_level = var.log_level
  disable_all_logs  = false
  role_arn          = aws_iam_role.logs.arn
}
