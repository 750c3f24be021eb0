output "devices_host" {
  description = "The balancer for devices: a CNAME of it is the name in the gateway's certificate."
  value       = module.tributary.devices_host
}

output "people_host" {
  description = "The balancer for people; null without a dashboard."
  value       = module.tributary.people_host
}

output "user_pool_id" {
  description = "Where people are invited; null without a dashboard."
  value       = module.tributary.user_pool_id
}

output "repositories" {
  description = "Where each image is to be pushed."
  value       = module.tributary.repositories
}

output "secrets" {
  description = "Each file of the gateway and the secret it is to be put in."
  value       = module.tributary.secrets
}

output "setup" {
  description = "What the task that sets up the database needs: `aws ecs run-task`."
  value       = module.tributary.setup
}

output "iot" {
  description = "AWS IoT Core: endpoint, provisioning template and the claim's policy; null without it."
  value       = module.tributary.iot
}

output "gateway_certificate_pem" {
  description = "What AWS IoT signed for the gateways: the secret aws-iot.crt."
  value       = module.tributary.gateway_certificate_pem
  sensitive   = true
}

output "nat_addresses" {
  description = "From where gateways reach the world."
  value       = module.tributary.nat_addresses
}

output "alarm_topic_arn" {
  description = "Where alarms go."
  value       = module.tributary.alarm_topic_arn
}

output "settings" {
  description = "The gateway's configuration as it is handed over."
  value       = module.tributary.settings
}
