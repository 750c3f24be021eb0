output "identifier" {
  description = "The database's name in RDS, by which alarms know it."
  value       = aws_db_instance.this.identifier
}

output "host" {
  description = "Where PostgreSQL is: the name in its certificate."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Its port."
  value       = aws_db_instance.this.port
}

output "database" {
  description = "The database in it."
  value       = aws_db_instance.this.db_name
}

output "security_group_id" {
  description = "The group that gateways must be let into."
  value       = aws_security_group.this.id
}

output "master_secret_arn" {
  description = "Where RDS keeps the master's password. Only the set-up task reads it."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "timestream" {
  description = "Timestream's database and table with the table's ARN, where there are any."
  value = var.timestream == null ? null : {
    database  = aws_timestreamwrite_database.this[0].database_name
    table     = aws_timestreamwrite_table.reading[0].table_name
    table_arn = aws_timestreamwrite_table.reading[0].arn
  }
}

output "influx" {
  description = "InfluxDB's address, organisation, bucket and security group, where there is one."
  value = var.influx == null ? null : {
    url               = "https://${aws_timestreaminfluxdb_db_instance.this[0].endpoint}:8086"
    org               = "tributary"
    bucket            = "tributary"
    security_group_id = aws_security_group.influx[0].id
  }
}
