# The gateways: as many as are needed, in all zones, each in a place of its own.

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:Container Insights is paid by the figure, and no alarm is about one of its figures; AWS/ECS and the gateways' own metrics are there
  name = var.name

  setting {
    name  = "containerInsights"
    value = "disabled"
  }
}

resource "aws_ecs_task_definition" "gateway" {
  family                   = "${var.name}-gateway"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mib
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.gateway.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([
    merge(local.files_container, {
      essential   = true
      healthCheck = { command = ["CMD", "test", "-e", "${local.folder}/.ready"], interval = 5, timeout = 2, retries = 10, startPeriod = 60 }
    }),
    local.gateway_container,
    local.proxy_container,
    local.metrics_container,
  ])

  # On the task's own disk, which AWS encrypts and throws away.
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

resource "aws_ecs_service" "gateway" {
  name             = "gateway"
  cluster          = aws_ecs_cluster.this.id
  task_definition  = aws_ecs_task_definition.gateway.arn
  launch_type      = "FARGATE"
  platform_version = "LATEST"
  desired_count    = var.gateways_min

  # New ones first, then the old ones go: devices are told by a closed connection, and come back within seconds.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [aws_security_group.gateway.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.devices.arn
    container_name   = "gateway"
    container_port   = local.mqtt_port
  }

  dynamic "load_balancer" {
    for_each = aws_lb_target_group.people

    content {
      target_group_arn = load_balancer.value.arn
      container_name   = "proxy"
      container_port   = local.proxy_port
    }
  }

  lifecycle {
    # Autoscaling decides.
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.devices, aws_efs_mount_target.state, aws_iam_role_policy.gateway, aws_iam_role_policy.start]
}

resource "aws_appautoscaling_target" "gateway" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.gateway.name}"
  min_capacity       = var.gateways_min
  max_capacity       = var.gateways_max
}

# Half of what a gateway can do is planned with, so that a backlog drains while live readings go on.
resource "aws_appautoscaling_policy" "cpu" {
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.gateway.service_namespace
  scalable_dimension = aws_appautoscaling_target.gateway.scalable_dimension
  resource_id        = aws_appautoscaling_target.gateway.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 50
    scale_out_cooldown = 60
    scale_in_cooldown  = 600

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
