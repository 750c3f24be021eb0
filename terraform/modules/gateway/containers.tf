# The programs of a task. None is root, none can write to its own image, none has a capability. They share the task's
# network, so that "loopback" is all of them and nobody else.

locals {
  hardened = {
    user                   = local.user
    privileged             = false
    readonlyRootFilesystem = true
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
  }

  mounts = {
    write = [{ sourceVolume = "settings", containerPath = local.folder, readOnly = false }]
    read  = [{ sourceVolume = "settings", containerPath = local.folder, readOnly = true }]
    state = [{ sourceVolume = "state", containerPath = local.state, readOnly = false }]
    tmp   = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
  }

  # Fetches keys, certificates and passwords into files that only the gateway's user can read, and looks every minute
  # whether one has changed: a renewed certificate or a new revocation list needs no restart.
  files_container = merge(local.hardened, {
    name             = "files"
    image            = local.image["files"]
    mountPoints      = concat(local.mounts.write, local.mounts.state, local.mounts.tmp)
    logConfiguration = local.log["files"]
    environment = [
      { name = "AWS_DEFAULT_REGION", value = var.region },
      { name = "FILES", value = join("\n", [for name, arn in local.files_of_gateway : "${name}=${arn}"]) },
      { name = "SETTINGS", value = local.settings },
      { name = "EVERY_S", value = "60" },
    ]
  })

  # In tasks that end, it fetches once, and looks with the eyes of the gateway that was here last.
  files_once = merge(local.files_container, {
    essential   = false
    environment = concat(local.files_container.environment, [{ name = "ONCE", value = "1" }])
  })

  gateway_container = merge(local.hardened, {
    name             = "gateway"
    image            = local.image["gateway"]
    essential        = true
    command          = ["run", "--config", "${local.folder}/gateway.toml"]
    mountPoints      = concat(local.mounts.read, local.mounts.state)
    logConfiguration = local.log["gateway"]
    dependsOn        = [{ containerName = "files", condition = "HEALTHY" }]
    portMappings     = [{ containerPort = local.mqtt_port, protocol = "tcp" }]
    environment      = [{ name = "TRIBUTARY_LOG", value = var.log_level }]
    # One descriptor a device, and some.
    ulimits     = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    stopTimeout = 60
    healthCheck = {
      command     = ["CMD", "/bin/tributary-gateway", "health"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }
  })

  # Brings health checks, and people who have said who they are, to the gateway's loopback door.
  proxy_container = merge(local.hardened, {
    name             = "proxy"
    image            = local.image["proxy"]
    essential        = true
    mountPoints      = concat(local.mounts.read, local.mounts.tmp)
    logConfiguration = local.log["proxy"]
    dependsOn        = [{ containerName = "gateway", condition = "HEALTHY" }]
    portMappings     = [{ containerPort = local.proxy_port, protocol = "tcp" }]
  })

  # Reads the gateway's metrics and writes those that alarms and charts want to CloudWatch, once a minute.
  metrics_container = merge(local.hardened, {
    name             = "metrics"
    image            = var.metrics_image
    essential        = false
    mountPoints      = local.mounts.tmp
    logConfiguration = local.log["metrics"]
    dependsOn        = [{ containerName = "gateway", condition = "START" }]
    environment = [{
      name = "AOT_CONFIG_CONTENT"
      value = templatefile("${path.module}/metrics.yaml.tftpl", {
        name      = var.name
        region    = var.region
        log_group = aws_cloudwatch_log_group.task["metrics"].name
      })
    }]
  })
}
