# Devices come in by a balancer that passes their TLS on as it is: the gateway sees the certificate, and nobody between it
# and the device can read or pretend.

resource "aws_lb" "devices" {
  #checkov:skip=CKV_AWS_91:a balancer of TCP has no access log; who came and went is in the gateway's log and audit trail
  #checkov:skip=CKV_AWS_150:deletion protection is a setting, on in prod
  name                             = "${var.name}-mqtt"
  load_balancer_type               = "network"
  internal                         = false
  subnets                          = var.public_subnet_ids
  security_groups                  = [aws_security_group.devices.id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.deletion_protection
}

resource "aws_lb_target_group" "devices" {
  name                   = "${var.name}-mqtt"
  port                   = local.mqtt_port
  protocol               = "TCP"
  target_type            = "ip"
  vpc_id                 = var.vpc_id
  preserve_client_ip     = true
  deregistration_delay   = 60
  connection_termination = true

  # Whether the program lives, not whether its database does: a gateway whose database is away keeps its devices connected
  # and acknowledges nothing, and another gateway would do no better.
  health_check {
    protocol            = "HTTPS"
    port                = tostring(local.proxy_port)
    path                = "/healthz"
    matcher             = "200"
    interval            = 10
    timeout             = 6
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "devices" {
  #checkov:skip=CKV_AWS_2:TLS is ended by the gateway, which must see the device's certificate
  #checkov:skip=CKV_AWS_103:the same; the gateway speaks TLS 1.2 and 1.3 alone
  load_balancer_arn = aws_lb.devices.arn
  port              = local.mqtt_port
  protocol          = "TCP"
  # Longer than any device is silent: keep-alives are at most 1200 s.
  tcp_idle_timeout_seconds = 1800

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.devices.arn
  }
}
