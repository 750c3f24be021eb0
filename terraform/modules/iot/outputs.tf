output "endpoint" {
  description = "Where devices and gateways connect: `uplink.host` of agents, `broker.address` (with :8883) of gateways."
  value       = data.aws_iot_endpoint.data.endpoint_address
}

output "device_policy" {
  description = "The policy that each device's certificate gets: `authority.aws_iot.policy` of the gateway."
  value       = aws_iot_policy.device.name
}

output "claim_policy" {
  description = "The policy for the claim certificate that new devices share."
  value       = aws_iot_policy.claim.name
}

output "thing_type" {
  description = "The type of all things: `authority.aws_iot.thing_type` of the gateway."
  value       = aws_iot_thing_type.this.name
}

output "provisioning_template" {
  description = "`uplink.provisioning_template` of agents."
  value       = aws_iot_provisioning_template.this.name
}

output "gateway_certificate_pem" {
  description = "What AWS IoT signed for the gateways: the file aws-iot.crt. Null without a request."
  value       = one(aws_iot_certificate.gateway[*].certificate_pem)
  sensitive   = true
}

output "undelivered_log_group" {
  description = "What the rule could not deliver."
  value       = aws_cloudwatch_log_group.undelivered.name
}

output "rule_name" {
  description = "The rule of presence, by which alarms know it."
  value       = aws_iot_topic_rule.presence.name
}

output "device_policy_document" {
  description = "The devices' policy as JSON, held against docs/aws-iot.md by a test."
  value       = aws_iot_policy.device.policy
}

output "claim_policy_document" {
  description = "The claim's policy as JSON, held against docs/aws-iot.md by a test."
  value       = aws_iot_policy.claim.policy
}
