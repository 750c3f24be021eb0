variable "name" {
  description = "The database's name in RDS, and the beginning of all other names here."
  type        = string
}

variable "vpc_id" {
  description = "The network it is in."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets without a way out, in at least two zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "RDS wants subnets in at least two zones."
  }
}

variable "kms_key_arn" {
  description = "The key that readings, backups and the master's password are encrypted with."
  type        = string
}

variable "engine_version" {
  description = "PostgreSQL's version, 15 or newer. A major alone takes the newest minor of it."
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^(1[5-9])(\\.[0-9]+)?$", var.engine_version))
    error_message = "15 to 19, with or without a minor."
  }
}

variable "instance_class" {
  description = "The machine. README.md says which for how many devices."
  type        = string
  default     = "db.t4g.small"

  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "A class of RDS: it begins with `db.`."
  }
}

variable "multi_az" {
  description = "A standby in a second zone, which takes over within a minute or two. Devices keep what they have meanwhile."
  type        = bool
  default     = true
}

variable "storage_gib" {
  description = "GiB to begin with."
  type        = number
  default     = 50

  validation {
    condition     = var.storage_gib >= 20
    error_message = "At least 20."
  }
}

variable "storage_gib_max" {
  description = "GiB up to which RDS makes it larger by itself."
  type        = number
  default     = 500

  validation {
    condition     = var.storage_gib_max >= var.storage_gib
    error_message = "At least storage_gib."
  }
}

variable "backup_days" {
  description = "Days for which the database can be had back as it was at any second: 7 to 35."
  type        = number
  default     = 35

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "7 to 35."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the database until this is taken away."
  type        = bool
  default     = true
}

variable "restore_from_snapshot" {
  description = "The snapshot that a new database begins as; null for an empty one. It counts only when the database is made."
  type        = string
  default     = null
}

variable "timestream" {
  description = "Timestream for LiveAnalytics, for accounts that still have it: hours in memory, days on magnetic store."
  type = object({
    memory_hours  = optional(number, 24)
    magnetic_days = optional(number, 3650)
  })
  default = null

  validation {
    condition     = var.timestream == null || try(var.timestream.memory_hours >= 1 && var.timestream.memory_hours <= 8766, false)
    error_message = "memory_hours from 1 to 8766."
  }
}

variable "influx" {
  description = "Timestream for InfluxDB: its machine, and GiB of storage, 20 or more."
  type = object({
    instance_type = optional(string, "db.influx.medium")
    storage_gib   = optional(number, 20)
  })
  default = null

  validation {
    condition     = var.influx == null || try(var.influx.storage_gib >= 20, false)
    error_message = "storage_gib of at least 20."
  }
}

variable "influx_first_password" {
  description = "InfluxDB's first password, 8 to 64 characters; only with `influx`."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.influx == null || try(length(var.influx_first_password) >= 8 && length(var.influx_first_password) <= 64, false)
    error_message = "8 to 64 characters, where there is to be an InfluxDB."
  }
}
