# One of everything, small, and gone when it is deleted: to try a version before prod gets it.

module "tributary" {
  source = "../../modules/tributary"

  name         = "tributary-dev"
  region       = var.region
  cidr         = "10.20.0.0/16"
  zones        = ["a", "b"]
  nat_per_zone = false

  image_tag    = var.image_tag
  architecture = var.architecture
  gateway      = { cpu = 512, memory_mib = 1024, min = 1, max = 2 }

  database = {
    instance_class        = "db.t4g.micro"
    multi_az              = false
    storage_gib           = 20
    storage_gib_max       = 50
    backup_days           = 7
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
  raw_days              = coalesce(var.raw_days, 90)
  alarm_mail            = var.alarm_mail
  log_days              = 365
  deletion_protection   = false
}
