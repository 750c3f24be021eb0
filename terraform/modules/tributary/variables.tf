variable "name" {
  description = "Begins the name of everything: `tributary-prod`."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "3 to 24 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "region" {
  description = "The region: `eu-central-1`."
  type        = string
}

variable "cidr" {
  description = "Addresses of the network, a /16."
  type        = string
}

variable "zones" {
  description = "Availability zones by their letters, 2 to 4."
  type        = list(string)
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone."
  type        = bool
}

variable "image_tag" {
  description = "Which version runs: the tag of all images."
  type        = string
}

variable "architecture" {
  description = "X86_64 or ARM64."
  type        = string
  default     = "X86_64"
}

variable "gateway" {
  description = "Size and number of gateways."
  type = object({
    cpu             = number
    memory_mib      = number
    min             = number
    max             = number
    connections_max = optional(number, 20000)
  })
}

variable "database" {
  description = "Size of PostgreSQL, and how it is kept safe."
  type = object({
    engine_version        = optional(string, "17")
    instance_class        = string
    multi_az              = bool
    storage_gib           = number
    storage_gib_max       = number
    backup_days           = number
    restore_from_snapshot = optional(string)
  })
}

variable "iot" {
  description = "AWS IoT Core as a second door; {} for all defaults, null for none. The module iot says what each means."
  type = object({
    authority_pem                = optional(string)
    register_on_first_connection = optional(bool, false)
    gateway_csr_pem              = optional(string)
    gateway_connections          = optional(number, 1)
    gateway_is_desk              = optional(bool, false)
    provisioning_open            = optional(bool, false)
    provisioning_hook_arn        = optional(string)
    accept_any_id                = optional(bool, false)
    account_settings             = optional(bool, true)
    log_level                    = optional(string, "WARN")
  })
  default = null
}

variable "timestream" {
  description = "Timestream for LiveAnalytics beside PostgreSQL: hours in memory, days on magnetic store; null for none."
  type        = object({ memory_hours = optional(number, 24), magnetic_days = optional(number, 3650) })
  default     = null

  validation {
    condition     = var.timestream == null || var.influx == null
    error_message = "One time-series store beside PostgreSQL, not two."
  }
}

variable "influx" {
  description = "Timestream for InfluxDB beside PostgreSQL: its machine and GiB; null for none."
  type        = object({ instance_type = optional(string, "db.influx.medium"), storage_gib = optional(number, 20) })
  default     = null
}

variable "influx_first_password" {
  description = "InfluxDB's first password, to be changed at once."
  type        = string
  default     = null
  sensitive   = true
}

variable "dashboard" {
  description = "The dashboard's name, its certificate in ACM, from where people may come; null for none."
  type = object({
    domain          = string
    certificate_arn = string
    cidrs           = optional(list(string), ["0.0.0.0/0"])
  })
  default = null
}

variable "device_cidrs" {
  description = "From where devices may come."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "subject_files" {
  description = "How many secrets the [[subject]] tables lie in: subjects.toml, subjects-02.toml and so on."
  type        = number
  default     = 1

  validation {
    condition     = var.subject_files >= 1 && var.subject_files <= 99 && floor(var.subject_files) == var.subject_files
    error_message = "1 to 99. A secret takes 65 536 bytes, some 600 [[subject]] tables: 10 000 of them want 17."
  }
}

variable "raw_days" {
  description = "Days that readings themselves are kept; null: for ever."
  type        = number
  default     = null
}

variable "alarm_mail" {
  description = "Who is told of alarms."
  type        = list(string)
  default     = []
}

variable "devices_min" {
  description = "Devices that should always be connected; null: nobody counts."
  type        = number
  default     = null
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "deletion_protection" {
  description = "Refuse to delete what is hard to have back."
  type        = bool
}
