# PostgreSQL for the ledger, the registry and the readings. RDS has no TimescaleDB: the gateway partitions by month there.

locals {
  major = split(".", var.engine_version)[0]
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Subnets without a way out"
  subnet_ids  = var.subnet_ids
}

# Only gateways come in, and nothing goes out. Who the gateways are is said by the module that makes them.
resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:the database below is in it
  name        = "${var.name}-database"
  description = "PostgreSQL of ${var.name}"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-database" }
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  family      = "postgres${local.major}"
  description = "What the gateway relies on"

  # Nobody comes in without TLS.
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # The gateway refuses a server that may lose what it said is committed.
  parameter {
    name  = "synchronous_commit"
    value = "on"
  }

  # A transaction that is left open holds the feed back; the gateway's own are ended after 10 s.
  parameter {
    name  = "idle_in_transaction_session_timeout"
    value = "60000"
  }

  # Who came and went, and who waited for a lock; never a statement, which could have a reading in it.
  parameter {
    name  = "log_connections"
    value = "1"
  }

  parameter {
    name  = "log_lock_waits"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "none"
  }

  # Nor the one that failed.
  parameter {
    name  = "log_min_error_statement"
    value = "panic"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV2_AWS_30:statements are not logged on purpose, a statement may carry a reading of a person
  #checkov:skip=CKV_AWS_157:a second zone is a setting, on in prod
  #checkov:skip=CKV_AWS_293:deletion protection is a setting, on in prod
  identifier = var.name

  engine                      = "postgres"
  engine_version              = var.engine_version
  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false
  parameter_group_name        = aws_db_parameter_group.this.name
  ca_cert_identifier          = "rds-ca-rsa2048-g1"

  instance_class        = var.instance_class
  multi_az              = var.multi_az
  storage_type          = "gp3"
  allocated_storage     = var.storage_gib
  max_allocated_storage = var.storage_gib_max
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  db_name                             = "tributary"
  username                            = "postgres"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = var.kms_key_arn
  iam_database_authentication_enabled = true

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  publicly_accessible    = false
  port                   = 5432

  backup_retention_period   = var.backup_days
  backup_window             = "02:00-03:00"
  maintenance_window        = "Sun:03:30-Sun:04:30"
  copy_tags_to_snapshot     = true
  delete_automated_backups  = false
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-final"
  snapshot_identifier       = var.restore_from_snapshot

  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = var.kms_key_arn
  performance_insights_retention_period = 7
  monitoring_interval                   = 60
  monitoring_role_arn                   = aws_iam_role.monitoring.arn

  # The password of a role, a parameter that waits for a restart: in the window, not in the middle of the day.
  apply_immediately = false

  lifecycle {
    # It says where this database came from, once. Later it must not have it made anew.
    ignore_changes = [snapshot_identifier]
  }
}
