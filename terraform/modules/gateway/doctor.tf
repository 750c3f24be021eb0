# Once a day `tributary-gateway doctor` looks at certificates, revocation lists, keys, roles, clocks and the audit trail, and
# says a line each. Alarms are raised by a line that is a fault, by one that says that something could not be looked at, and
# by no line at all: so nobody else writes into the doctor's log.

resource "aws_ecs_task_definition" "doctor" {
  family                   = "${var.name}-doctor"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.gateway.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([
    local.files_once,
    merge(local.hardened, {
      name             = "doctor"
      image            = local.image["gateway"]
      essential        = true
      command          = ["doctor", "--config", "${local.folder}/gateway.toml"]
      mountPoints      = concat(local.mounts.read, local.mounts.state)
      logConfiguration = local.log["doctor"]
      dependsOn        = [{ containerName = "files", condition = "SUCCESS" }]
    }),
  ])

  volume { name = "settings" }

  volume { name = "tmp" }

  volume {
    name = "state"

    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.state.id
      transit_encryption = "ENABLED"

      authorization_config {
        access_point_id = aws_efs_access_point.state.id
        iam             = "ENABLED"
      }
    }
  }
}

resource "aws_scheduler_schedule" "doctor" {
  name                         = "${var.name}-doctor"
  schedule_expression          = "cron(17 5 * * ? *)"
  schedule_expression_timezone = "UTC"
  kms_key_arn                  = var.kms_key_arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.schedule.arn

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.doctor.arn
      launch_type         = "FARGATE"

      network_configuration {
        subnets          = var.private_subnet_ids
        security_groups  = [aws_security_group.gateway.id]
        assign_public_ip = false
      }
    }
  }
}

resource "aws_iam_role" "schedule" {
  name = "${var.name}-schedule"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  name = "doctor"
  role = aws_iam_role.schedule.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "ecs:RunTask"
        Resource  = aws_ecs_task_definition.doctor.arn
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
      },
      {
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = [aws_iam_role.start.arn, aws_iam_role.gateway.arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = var.kms_key_arn
      },
    ]
  })
}
