# A time-series store beside PostgreSQL, if there is to be one: gateway/src/store/sink/README.md says what is written there.

# Timestream for LiveAnalytics: closed to new accounts since 20 June 2025, so it is off unless asked for.
resource "aws_timestreamwrite_database" "this" {
  count = var.timestream == null ? 0 : 1

  database_name = var.name
  kms_key_id    = var.kms_key_arn
}

resource "aws_timestreamwrite_table" "reading" {
  count = var.timestream == null ? 0 : 1

  database_name = aws_timestreamwrite_database.this[0].database_name
  table_name    = "reading"

  retention_properties {
    memory_store_retention_period_in_hours  = var.timestream.memory_hours
    magnetic_store_retention_period_in_days = var.timestream.magnetic_days
  }

  # Devices come back after days: what is older than the memory store must be taken too. What is not taken is answered to
  # the gateway record by record, which keeps it with the reason: no second place for it is needed.
  magnetic_store_write_properties {
    enable_magnetic_store_writes = true
  }
}

# Timestream for InfluxDB: InfluxDB 2, in the isolated subnets. Off unless asked for.
resource "aws_security_group" "influx" {
  #checkov:skip=CKV2_AWS_5:the database below is in it
  count = var.influx == null ? 0 : 1

  name        = "${var.name}-influx"
  description = "InfluxDB of ${var.name}"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-influx" }
}

resource "aws_timestreaminfluxdb_db_instance" "this" {
  count = var.influx == null ? 0 : 1

  name                = var.name
  db_instance_type    = var.influx.instance_type
  db_storage_type     = "InfluxIOIncludedT1"
  allocated_storage   = var.influx.storage_gib
  deployment_type     = var.multi_az ? "WITH_MULTIAZ_STANDBY" : "SINGLE_AZ"
  publicly_accessible = false

  organization = "tributary"
  bucket       = "tributary"
  username     = "admin"
  # Only for the first start. README.md: change it at once, this one is in Terraform's state.
  password = var.influx_first_password

  vpc_subnet_ids         = var.subnet_ids
  vpc_security_group_ids = [aws_security_group.influx[0].id]

  lifecycle {
    ignore_changes = [password]
  }
}
