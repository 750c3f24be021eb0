# Run by hand (../../setup), before the first gateway and before the gateways of each new version: makes the database's
# roles, sets their passwords, and brings the schema to what the program needs.

locals {
  once = merge(local.files_once, { logConfiguration = local.log["setup"] })
}

resource "aws_ecs_task_definition" "setup" {
  family                   = "${var.name}-setup"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.setup.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([
    merge(local.once, {
      mountPoints = concat(local.mounts.write, local.mounts.tmp)
      environment = concat(
        [for variable in local.once.environment : variable if variable.name != "FILES"],
        [{ name = "FILES", value = join("\n", [for name, arn in local.files_of_setup : "${name}=${arn}"]) }],
      )
    }),
    merge(local.hardened, {
      name             = "roles"
      image            = local.image["database"]
      essential        = false
      mountPoints      = concat(local.mounts.read, local.mounts.tmp)
      logConfiguration = local.log["setup"]
      dependsOn        = [{ containerName = "files", condition = "SUCCESS" }]
      environment = [
        { name = "PGHOST", value = var.database.host },
        { name = "PGPORT", value = tostring(var.database.port) },
        { name = "PGDATABASE", value = var.database.name },
        { name = "PGSSLMODE", value = "verify-full" },
        { name = "PGSSLROOTCERT", value = "${local.folder}/database-ca.crt" },
      ]
    }),
    merge(local.hardened, {
      name             = "migrate"
      image            = local.image["gateway"]
      essential        = true
      command          = ["migrate", "--config", "${local.folder}/gateway.toml"]
      mountPoints      = local.mounts.read
      logConfiguration = local.log["setup"]
      dependsOn        = [{ containerName = "roles", condition = "SUCCESS" }]
    }),
  ])

  volume { name = "settings" }

  volume { name = "tmp" }
}
