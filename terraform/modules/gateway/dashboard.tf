# The dashboard for people, if there is to be one. The gateway has no accounts yet and answers loopback only: here a balancer
# asks everybody who he is (a user pool, invited people, a second factor), and a proxy beside the gateway carries what is
# let in. Whoever is let in sees everything.

locals {
  dashboard = var.dashboard == null ? {} : { this = var.dashboard }
}

resource "aws_security_group" "people" {
  #checkov:skip=CKV2_AWS_5:the balancer below is in it
  for_each = local.dashboard

  name        = "${var.name}-people"
  description = "Balancer for people"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-people" }
}

resource "aws_vpc_security_group_ingress_rule" "people" {
  for_each = toset(var.dashboard == null ? [] : var.dashboard.cidrs)

  security_group_id = aws_security_group.people["this"].id
  description       = "HTTPS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "people_proxy" {
  for_each = local.dashboard

  security_group_id            = aws_security_group.people["this"].id
  description                  = "To gateways"
  ip_protocol                  = "tcp"
  from_port                    = local.proxy_port
  to_port                      = local.proxy_port
  referenced_security_group_id = aws_security_group.gateway.id
}

resource "aws_vpc_security_group_egress_rule" "people_pool" {
  for_each = local.dashboard

  security_group_id = aws_security_group.people["this"].id
  description       = "To the user pool, which has no fixed address"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "gateway_people" {
  for_each = local.dashboard

  security_group_id            = aws_security_group.gateway.id
  description                  = "From the balancer for people"
  ip_protocol                  = "tcp"
  from_port                    = local.proxy_port
  to_port                      = local.proxy_port
  referenced_security_group_id = aws_security_group.people["this"].id
}

resource "aws_lb" "people" {
  #checkov:skip=CKV_AWS_91:its log would have the addresses that people ask for, which name subjects; the gateway keeps an audit trail
  #checkov:skip=CKV_AWS_150:deletion protection is a setting, on in prod
  #checkov:skip=CKV2_AWS_28:nothing is forwarded before somebody has signed in with a second factor; add a firewall where attacks on that page are feared
  for_each = local.dashboard

  name                       = "${var.name}-people"
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.public_subnet_ids
  security_groups            = [aws_security_group.people["this"].id]
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "people" {
  for_each = local.dashboard

  name                 = "${var.name}-people"
  port                 = local.proxy_port
  protocol             = "HTTPS"
  target_type          = "ip"
  vpc_id               = var.vpc_id
  deregistration_delay = 15

  health_check {
    protocol            = "HTTPS"
    path                = "/healthz"
    matcher             = "200"
    interval            = 10
    timeout             = 6
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

# Asked by another name, or for nothing we have: nothing.
resource "aws_lb_listener" "people" {
  for_each = local.dashboard

  load_balancer_arn = aws_lb.people["this"].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
  certificate_arn   = each.value.certificate_arn

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener_rule" "people" {
  for_each = local.dashboard

  listener_arn = aws_lb_listener.people["this"].arn
  priority     = 10

  condition {
    host_header {
      values = [each.value.domain]
    }
  }

  action {
    type  = "authenticate-cognito"
    order = 1

    authenticate_cognito {
      user_pool_arn              = aws_cognito_user_pool.people["this"].arn
      user_pool_client_id        = aws_cognito_user_pool_client.people["this"].id
      user_pool_domain           = aws_cognito_user_pool_domain.people["this"].domain
      scope                      = "openid"
      session_timeout            = 43200
      on_unauthenticated_request = "authenticate"
    }
  }

  action {
    type             = "forward"
    order            = 2
    target_group_arn = aws_lb_target_group.people["this"].arn
  }
}
