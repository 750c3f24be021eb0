output "devices_host" {
  description = "The balancer's name: let the name in the gateway's certificate be a CNAME of it."
  value       = aws_lb.devices.dns_name
}

output "people_host" {
  description = "The same for the dashboard; null without one."
  value       = one([for balancer in aws_lb.people : balancer.dns_name])
}

output "user_pool_id" {
  description = "Where people are invited; null without a dashboard."
  value       = one([for pool in aws_cognito_user_pool.people : pool.id])
}

output "repositories" {
  description = "Where each image is to be pushed."
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "cluster" {
  description = "The cluster's name."
  value       = aws_ecs_cluster.this.name
}

output "service" {
  description = "The service's name."
  value       = aws_ecs_service.gateway.name
}

output "setup_task" {
  description = "The task that sets up the database and migrates its schema: its family, of which AWS runs the newest."
  value       = aws_ecs_task_definition.setup.family
}

output "task_network" {
  description = "Where that task is to run, as `aws ecs run-task --network-configuration` takes it."
  value = jsonencode({ awsvpcConfiguration = {
    subnets        = var.private_subnet_ids
    securityGroups = [aws_security_group.gateway.id]
    assignPublicIp = "DISABLED"
  } })
}

output "settings" {
  description = "The gateway's configuration as it is handed over, without any secret."
  value       = local.settings
}

output "alarmed" {
  description = "What alarms need to know: balancers, target groups, log groups."
  value = {
    cluster        = aws_ecs_cluster.this.name
    service        = aws_ecs_service.gateway.name
    devices_lb     = aws_lb.devices.arn_suffix
    devices_target = aws_lb_target_group.devices.arn_suffix
    people_lb      = one([for balancer in aws_lb.people : balancer.arn_suffix])
    people_target  = one([for group in aws_lb_target_group.people : group.arn_suffix])
    certificate    = try(var.dashboard.certificate_arn, null)
    doctor_log     = aws_cloudwatch_log_group.task["doctor"].name
    gateway_log    = aws_cloudwatch_log_group.task["gateway"].name
    file_system    = aws_efs_file_system.state.id
  }
}
