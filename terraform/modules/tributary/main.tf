# The whole cloud side, put together once for all environments: who is introduced to whom. An environment says how large.

locals {
  # What the gateway reads, and what each is. Terraform makes the places, people fill them.
  files = merge(
    {
      "gateway.crt"      = "the gateway's certificate chain, PEM"
      "gateway.key"      = "its key, PEM"
      "ca.crt"           = "the authorities that sign devices, PEM"
      "ca.crl"           = "what they have revoked, PEM"
      "ingest.password"  = "of the role tributary_ingest, which runs the gateway"
      "migrate.password" = "of the role tributary_migrate, which changes the schema"
      "query.password"   = "of the role tributary_query, which only reads"
      "database-ca.crt"  = "RDS's authorities of this region, PEM"
      "subjects.toml"    = "whom readings are about: [[subject]] tables; a line with # where there are none yet"
    },
    { for number in range(2, var.subject_files + 1) : format("subjects-%02d.toml", number) => "more of them" },
    var.iot == null ? {} : {
      "aws-root.crt" = "AmazonRootCA1.pem"
      "aws-iot.crt"  = "what AWS IoT signed for the gateways: the output gateway_certificate_pem"
      "aws-iot.key"  = "the key of that request, PEM"
      "receipts.key" = "signs receipts, Ed25519, PEM"
    },
    var.influx == null ? {} : { "influx.token" = "reads and writes InfluxDB's bucket" },
  )

  timeseries = var.timestream != null ? merge({ type = "timestream" }, module.database.timestream) : (
    var.influx != null ? merge({ type = "influx-2" }, module.database.influx) : null
  )
}

module "secrets" {
  source = "../secrets"

  name          = var.name
  region        = var.region
  files         = local.files
  recovery_days = var.deletion_protection ? 30 : 7
}

module "network" {
  source = "../network"

  name         = var.name
  region       = var.region
  cidr         = var.cidr
  zones        = var.zones
  nat_per_zone = var.nat_per_zone
  log_days     = var.log_days
  kms_key_arn  = module.secrets.kms_key_arn
}

module "database" {
  source = "../database"

  name                  = var.name
  vpc_id                = module.network.vpc_id
  subnet_ids            = module.network.isolated_subnet_ids
  kms_key_arn           = module.secrets.kms_key_arn
  engine_version        = var.database.engine_version
  instance_class        = var.database.instance_class
  multi_az              = var.database.multi_az
  storage_gib           = var.database.storage_gib
  storage_gib_max       = var.database.storage_gib_max
  backup_days           = var.database.backup_days
  restore_from_snapshot = var.database.restore_from_snapshot
  deletion_protection   = var.deletion_protection
  timestream            = var.timestream
  influx                = var.influx
  influx_first_password = var.influx_first_password
}

module "iot" {
  source = "../iot"
  count  = var.iot == null ? 0 : 1

  name                         = var.name
  region                       = var.region
  kms_key_arn                  = module.secrets.kms_key_arn
  topic_arn                    = module.alarms.topic_arn
  authority_pem                = var.iot.authority_pem
  register_on_first_connection = var.iot.register_on_first_connection
  gateway_csr_pem              = var.iot.gateway_csr_pem
  gateway_is_desk              = var.iot.gateway_is_desk
  provisioning_open            = var.iot.provisioning_open
  provisioning_hook_arn        = var.iot.provisioning_hook_arn
  accept_any_id                = var.iot.accept_any_id
  account_settings             = var.iot.account_settings
  log_level                    = var.iot.log_level
  log_days                     = var.log_days
}

module "gateway" {
  source = "../gateway"

  name                = var.name
  region              = var.region
  kms_key_arn         = module.secrets.kms_key_arn
  files               = module.secrets.files
  vpc_id              = module.network.vpc_id
  public_subnet_ids   = module.network.public_subnet_ids
  private_subnet_ids  = module.network.private_subnet_ids
  image_tag           = var.image_tag
  architecture        = var.architecture
  cpu                 = var.gateway.cpu
  memory_mib          = var.gateway.memory_mib
  gateways_min        = var.gateway.min
  gateways_max        = var.gateway.max
  connections_max     = var.gateway.connections_max
  raw_days            = var.raw_days
  dashboard           = var.dashboard
  device_cidrs        = var.device_cidrs
  timeseries          = local.timeseries
  log_days            = var.log_days
  deletion_protection = var.deletion_protection

  database = {
    host              = module.database.host
    port              = module.database.port
    name              = module.database.database
    security_group_id = module.database.security_group_id
    master_secret_arn = module.database.master_secret_arn
  }

  broker = var.iot == null ? null : {
    endpoint    = module.iot[0].endpoint
    client_id   = "${var.name}-gateway"
    connections = var.iot.gateway_connections
  }

  authority = try(var.iot.gateway_is_desk, false) ? {
    policy     = module.iot[0].device_policy
    thing_type = module.iot[0].thing_type
  } : null
}

module "alarms" {
  source = "../alarms"

  name                = var.name
  kms_key_arn         = module.secrets.kms_key_arn
  mail                = var.alarm_mail
  watched             = module.gateway.alarmed
  has_dashboard       = var.dashboard != null
  database_identifier = module.database.identifier
  devices_min         = var.devices_min
  iot                 = var.iot == null ? null : { undelivered_log_group = module.iot[0].undelivered_log_group }
}
