# For people who rely on it: two of everything in two zones, a standby of the database, five weeks of backups, and nothing
# that is hard to have back can be deleted by mistake. The sizes are for up to 10 000 devices: ../../README.md.

module "tributary" {
  source = "../../modules/tributary"

  name         = "tributary-prod"
  region       = var.region
  cidr         = "10.21.0.0/16"
  zones        = ["a", "b"]
  nat_per_zone = true

  image_tag    = var.image_tag
  architecture = var.architecture
  gateway      = { cpu = 1024, memory_mib = 2048, min = 2, max = 6 }

  database = {
    instance_class        = "db.t4g.medium"
    multi_az              = true
    storage_gib           = 100
    storage_gib_max       = 1000
    backup_days           = 35
    restore_from_snapshot = var.restore_from_snapshot
  }

  iot                   = var.iot
  timestream            = var.timestream
  influx                = var.influx
  influx_first_password = var.influx_first_password
  dashboard             = var.dashboard
  device_cidrs          = var.device_cidrs
  devices_min           = var.devices_min
  subject_files         = var.subject_files
  raw_days              = var.raw_days
  alarm_mail            = var.alarm_mail
  log_days              = 731
  deletion_protection   = true
}
