output "devices_host" {
  description = "The balancer for devices: a CNAME of it is the name in the gateway's certificate."
  value       = module.gateway.devices_host
}

output "people_host" {
  description = "The balancer for people; null without a dashboard."
  value       = module.gateway.people_host
}

output "user_pool_id" {
  description = "Where people are invited; null without a dashboard."
  value       = module.gateway.user_pool_id
}

output "repositories" {
  description = "Where each image is to be pushed."
  value       = module.gateway.repositories
}

output "secrets" {
  description = "Each file of the gateway and the secret it is to be put in."
  value       = module.secrets.files
}

output "setup" {
  description = "What the task that sets up the database needs: `aws ecs run-task`."
  value = {
    cluster = module.gateway.cluster
    task    = module.gateway.setup_task
    network = module.gateway.task_network
  }
}

output "iot" {
  description = "AWS IoT Core: endpoint, provisioning template and the claim's policy; null without it."
  value = var.iot == null ? null : {
    endpoint     = module.iot[0].endpoint
    template     = module.iot[0].provisioning_template
    claim_policy = module.iot[0].claim_policy
  }
}

output "gateway_certificate_pem" {
  description = "What AWS IoT signed for the gateways: the secret aws-iot.crt."
  value       = one(module.iot[*].gateway_certificate_pem)
  sensitive   = true
}

output "nat_addresses" {
  description = "From where gateways reach the world."
  value       = module.network.nat_addresses
}

output "alarm_topic_arn" {
  description = "Where alarms go."
  value       = module.alarms.topic_arn
}

output "settings" {
  description = "The gateway's configuration as it is handed over."
  value       = module.gateway.settings
}
