# What each program says. Health values and identities are redacted by the programs themselves.

resource "aws_cloudwatch_log_group" "task" {
  for_each = toset(["gateway", "files", "proxy", "metrics", "setup", "doctor"])

  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

locals {
  log = { for name, group in aws_cloudwatch_log_group.task : name => {
    logDriver = "awslogs"
    options = {
      awslogs-group         = group.name
      awslogs-region        = var.region
      awslogs-stream-prefix = name
    }
  } }
}
