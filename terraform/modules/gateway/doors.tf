# Who may speak to whom. The world reaches two ports, each on a balancer: 8883 for devices, which show a certificate to the
# gateway itself, and 443 for people, if there is a dashboard.

resource "aws_security_group" "devices" {
  name        = "${var.name}-devices"
  description = "Balancer for devices"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-devices" }
}

resource "aws_vpc_security_group_ingress_rule" "devices" {
  for_each = toset(var.device_cidrs)

  security_group_id = aws_security_group.devices.id
  description       = "MQTT over TLS"
  ip_protocol       = "tcp"
  from_port         = local.mqtt_port
  to_port           = local.mqtt_port
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "devices" {
  for_each = { mqtt = local.mqtt_port, health = local.proxy_port }

  security_group_id            = aws_security_group.devices.id
  description                  = "To gateways: ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.gateway.id
}

resource "aws_security_group" "gateway" {
  name        = "${var.name}-gateway"
  description = "Gateways"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-gateway" }
}

resource "aws_vpc_security_group_ingress_rule" "gateway" {
  for_each = { mqtt = local.mqtt_port, health = local.proxy_port }

  security_group_id            = aws_security_group.gateway.id
  description                  = "From the balancer for devices: ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.devices.id
}

# Amazon's own services have no fixed addresses: HTTPS goes out to anywhere, and MQTT where a broker is.
resource "aws_vpc_security_group_egress_rule" "gateway_https" {
  security_group_id = aws_security_group.gateway.id
  description       = "Images, secrets, logs, AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "gateway_broker" {
  count = var.broker == null ? 0 : 1

  security_group_id = aws_security_group.gateway.id
  description       = "AWS IoT Core"
  ip_protocol       = "tcp"
  from_port         = 8883
  to_port           = 8883
  cidr_ipv4         = "0.0.0.0/0"
}

# Databases and their ports, each let in by its own group.
locals {
  stores = merge(
    { postgres = { group = var.database.security_group_id, port = var.database.port } },
    try(var.timeseries.type, "") != "influx-2" ? {} : {
      influx = { group = var.timeseries.security_group_id, port = 8086 }
    },
  )
}

resource "aws_vpc_security_group_egress_rule" "gateway_store" {
  for_each = local.stores

  security_group_id            = aws_security_group.gateway.id
  description                  = "To the store: ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = each.value.group
}

resource "aws_vpc_security_group_ingress_rule" "store" {
  for_each = local.stores

  security_group_id            = each.value.group
  description                  = "From gateways"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.gateway.id
}

resource "aws_security_group" "state" {
  name        = "${var.name}-state"
  description = "The file system with the checkpoints of the audit trail"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-state" }
}

resource "aws_vpc_security_group_ingress_rule" "state" {
  security_group_id            = aws_security_group.state.id
  description                  = "NFS from gateways"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = aws_security_group.gateway.id
}

resource "aws_vpc_security_group_egress_rule" "gateway_state" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "NFS"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = aws_security_group.state.id
}
