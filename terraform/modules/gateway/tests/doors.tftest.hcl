# What the world can reach, and what tasks are and may.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  name               = "tributary-test"
  region             = "eu-central-1"
  kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/1"
  vpc_id             = "vpc-1"
  public_subnet_ids  = ["subnet-1", "subnet-2"]
  private_subnet_ids = ["subnet-3", "subnet-4"]
  image_tag          = "0.1.0"
  dashboard          = { domain = "readings.example.org", certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1" }
  database           = { host = "db.example", port = 5432, name = "tributary", security_group_id = "sg-db", master_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master" }
  files = { for name in ["gateway.crt", "gateway.key", "ca.crt", "ca.crl", "ingest.password", "migrate.password", "query.password", "database-ca.crt"] :
  name => "arn:aws:secretsmanager:eu-central-1:123456789012:secret:${name}" }
}

run "the_world_reaches_two_ports_and_no_more" {
  assert {
    condition = toset(concat(
      [for rule in aws_vpc_security_group_ingress_rule.devices : "${rule.from_port}-${rule.to_port} ${rule.ip_protocol}"],
      [for rule in aws_vpc_security_group_ingress_rule.people : "${rule.from_port}-${rule.to_port} ${rule.ip_protocol}"],
    )) == toset(["8883-8883 tcp", "443-443 tcp"])
    error_message = "Another port than 8883 and 443 is open to addresses."
  }
  assert {
    condition = alltrue([for rule in concat(
      values(aws_vpc_security_group_ingress_rule.gateway), values(aws_vpc_security_group_ingress_rule.store),
      values(aws_vpc_security_group_ingress_rule.gateway_people), [aws_vpc_security_group_ingress_rule.state],
    ) : rule.referenced_security_group_id != null && rule.cidr_ipv4 != "0.0.0.0/0"])
    error_message = "Something inside lets addresses in rather than a group."
  }
  assert {
    condition     = !aws_ecs_service.gateway.network_configuration[0].assign_public_ip
    error_message = "Gateways have addresses that the world could reach."
  }
  assert {
    condition     = aws_lb_listener.devices.protocol == "TCP" && aws_lb_target_group.devices.protocol == "TCP"
    error_message = "Somebody between devices and gateways ends their TLS."
  }
}

run "nobody_sees_the_dashboard_who_has_not_signed_in" {
  assert {
    condition     = [for action in aws_lb_listener_rule.people["this"].action : action.type] == ["authenticate-cognito", "forward"]
    error_message = "Something is forwarded before somebody has signed in."
  }
  assert {
    condition     = aws_lb_listener.people["this"].default_action[0].type == "fixed-response"
    error_message = "What is asked by another name is forwarded."
  }
  assert {
    condition     = aws_cognito_user_pool.people["this"].mfa_configuration == "ON" && aws_cognito_user_pool.people["this"].admin_create_user_config[0].allow_admin_create_user_only
    error_message = "People come in without a second factor, or without having been invited."
  }
}

run "programs_are_nobody_and_can_change_nothing" {
  assert {
    condition = alltrue(flatten([for task in [aws_ecs_task_definition.gateway, aws_ecs_task_definition.setup, aws_ecs_task_definition.doctor] :
      [for program in jsondecode(task.container_definitions) :
    program.user == "65532" && program.readonlyRootFilesystem && !program.privileged && program.linuxParameters.capabilities.drop == ["ALL"]]]))
    error_message = "A program is root, may write to its image, or has a capability."
  }
  assert {
    condition = alltrue(flatten([for task in [aws_ecs_task_definition.gateway, aws_ecs_task_definition.setup, aws_ecs_task_definition.doctor] :
    [for program in jsondecode(task.container_definitions) : lookup(program, "secrets", null) == null]]))
    error_message = "A secret is handed over in the environment."
  }
  assert {
    condition = toset(flatten([for program in jsondecode(aws_ecs_task_definition.gateway.container_definitions) :
    [for mapping in lookup(program, "portMappings", []) : mapping.containerPort]])) == toset([8883, 8443])
    error_message = "A program listens on a port that nobody was told of."
  }
}

# What ECS takes: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
run "health_checks_are_such_as_ecs_takes" {
  assert {
    condition = alltrue(flatten([for task in [aws_ecs_task_definition.gateway, aws_ecs_task_definition.setup, aws_ecs_task_definition.doctor] :
      [for program in jsondecode(task.container_definitions) : [for check in [lookup(program, "healthCheck", null)] :
        check.interval >= 5 && check.interval <= 300 && check.timeout >= 2 && check.timeout <= 60 &&
        check.retries >= 1 && check.retries <= 10 && check.startPeriod >= 0 && check.startPeriod <= 300
    if check != null]]]))
    error_message = "A health check has an interval beyond 5 to 300 s, a timeout beyond 2 to 60 s, retries beyond 1 to 10, or a start beyond 0 to 300 s."
  }
  assert {
    condition = alltrue(flatten([for task in [aws_ecs_task_definition.gateway, aws_ecs_task_definition.setup, aws_ecs_task_definition.doctor] :
      [for program in jsondecode(task.container_definitions) : [for other in lookup(program, "dependsOn", []) :
        anytrue([for it in jsondecode(task.container_definitions) : it.name == other.containerName && lookup(it, "healthCheck", null) != null])
    if other.condition == "HEALTHY"]]]))
    error_message = "A program waits for the health of one that has no health check."
  }
}

# An alarm is raised where nobody writes there for a day.
run "only_the_doctor_writes_into_its_log" {
  assert {
    condition = flatten([for task in [aws_ecs_task_definition.gateway, aws_ecs_task_definition.setup, aws_ecs_task_definition.doctor] :
      [for program in jsondecode(task.container_definitions) : program.name
    if program.logConfiguration.options.awslogs-group == output.alarmed.doctor_log]]) == ["doctor"]
    error_message = "Another program than the doctor writes into its log: its silence would not be heard."
  }
}

run "only_the_set_up_reads_the_passwords_of_other_roles" {
  assert {
    condition = alltrue([for role in ["master", "migrate.password", "query.password"] :
    strcontains(aws_iam_role_policy.setup.policy, "secret:${role}") && !strcontains(aws_iam_role_policy.gateway.policy, "secret:${role}")])
    error_message = "The gateway's role may read the password of the master, of migrate or of query, or the set-up may not."
  }
  assert {
    condition = alltrue(flatten([for task in [aws_ecs_task_definition.gateway, aws_ecs_task_definition.doctor] :
      [for program in jsondecode(task.container_definitions) : [for variable in lookup(program, "environment", []) :
    !can(regex("migrate[.]password=|query[.]password=|master", variable.value)) if variable.name == "FILES"]]]))
    error_message = "A gateway or the doctor fetches a password that is not its own."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.setup.policy, "secret:gateway.key") && strcontains(aws_iam_role_policy.gateway.policy, "secret:gateway.key")
    error_message = "The set-up may read the gateway's key, or the gateway may not."
  }
  assert {
    condition = alltrue(flatten([for policy in [aws_iam_role_policy.gateway.policy, aws_iam_role_policy.setup.policy] :
    [for statement in jsondecode(policy).Statement : !contains(flatten([statement.Resource]), "*")]]))
    error_message = "A role may do something to everything."
  }
}

# README.md, "Upgrade": the set-up of the new version runs before its gateways do. What is not targeted cannot be asked for.
run "a_set_up_of_the_next_version_can_be_made_alone" {
  variables {
    image_tag = "0.2.0"
  }

  plan_options {
    target = [aws_ecs_task_definition.setup]
  }

  assert {
    condition     = strcontains(aws_ecs_task_definition.setup.container_definitions, ":0.2.0") && !strcontains(aws_ecs_task_definition.setup.container_definitions, ":0.1.0")
    error_message = "The set-up's images are not those of the new version."
  }
  assert {
    condition     = output.setup_task == "tributary-test-setup"
    error_message = "The set-up is not run by its family: after an apply of it alone, the old one would be run."
  }
}

run "an_image_that_names_no_version_is_refused" {
  command = plan

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}

run "a_size_that_fargate_does_not_have_is_refused" {
  command = plan

  variables {
    cpu        = 512
    memory_mib = 8192
  }

  expect_failures = [var.memory_mib]
}

run "a_desk_without_a_broker_is_refused" {
  command = plan

  variables {
    authority = { policy = "p", thing_type = "t" }
  }

  expect_failures = [var.authority]
}
