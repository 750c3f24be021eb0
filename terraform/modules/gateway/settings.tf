# What runs where, in one place: names, ports, the configuration that each gateway is given.

data "aws_caller_identity" "here" {}

data "aws_partition" "here" {}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition

  # Nobody's user id, the same in all images of gateway/containers.
  user   = "65532"
  folder = "/etc/tributary"
  state  = "/var/lib/tributary"

  mqtt_port  = 8883
  proxy_port = 8443

  images = toset(["gateway", "files", "proxy", "database"])
  image  = { for name in local.images : name => "${aws_ecr_repository.image[name].repository_url}:${var.image_tag}" }

  # gateway.example.toml explains each setting. @INSTANCE@ becomes the task's own name when it starts.
  settings = templatefile("${path.module}/gateway.toml.tftpl", {
    folder       = local.folder
    state        = local.state
    database     = var.database
    connections  = var.connections_max
    revocations  = contains(keys(var.files), "ca.crl")
    receipts     = contains(keys(var.files), "receipts.key")
    broker       = var.broker
    authority    = var.authority
    timeseries   = var.timeseries
    retention    = var.raw_days
    region       = var.region
    audit_days   = var.audit_days
    broker_group = "tributary"
  })

  # Who gets what. A gateway that runs must not be able to change the schema, nor come in as another role: only the set-up
  # has those passwords, and it has none of the gateway's keys.
  files_of_gateway = { for name, arn in var.files : name => arn if !contains(["migrate.password", "query.password"], name) }
  files_of_setup = merge(
    { for name in ["ingest.password", "migrate.password", "query.password", "database-ca.crt"] : name => var.files[name] },
    { "master.json" = var.database.master_secret_arn },
  )
}
