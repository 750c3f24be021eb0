output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "cidr" {
  description = "Its addresses."
  value       = aws_vpc.this.cidr_block
}

output "public_subnet_ids" {
  description = "Where balancers are."
  value       = [for zone in local.zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "Where gateways are."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}

output "isolated_subnet_ids" {
  description = "Where databases are."
  value       = [for zone in local.zones : aws_subnet.isolated[zone].id]
}

output "nat_addresses" {
  description = "From which addresses the gateways reach the world, for allow-lists elsewhere."
  value       = [for address in aws_eip.nat : address.public_ip]
}
