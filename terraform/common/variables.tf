variable "account_id" {
  description = "The account that this environment is in; in any other one nothing is done."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "12 digits."
  }
}

variable "region" {
  description = "The region."
  type        = string
  default     = "eu-central-1"
}

variable "image_tag" {
  description = "Which version runs."
  type        = string
}

variable "alarm_mail" {
  description = "Who is told of alarms."
  type        = list(string)
  default     = []
}

variable "dashboard" {
  description = "The dashboard's name and its certificate in ACM, and from where people may come; null for none."
  type = object({
    domain          = string
    certificate_arn = string
    cidrs           = optional(list(string), ["0.0.0.0/0"])
  })
  default = null
}

variable "iot" {
  description = "AWS IoT Core as a second door; {} for all defaults, null for none."
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
  description = "Timestream for LiveAnalytics beside PostgreSQL: hours in memory, days on magnetic store; {} for defaults, null for none."
  type        = object({ memory_hours = optional(number, 24), magnetic_days = optional(number, 3650) })
  default     = null
}

variable "influx" {
  description = "Timestream for InfluxDB beside PostgreSQL: its machine and GiB; {} for defaults, null for none."
  type        = object({ instance_type = optional(string, "db.influx.medium"), storage_gib = optional(number, 20) })
  default     = null
}

variable "influx_first_password" {
  description = "InfluxDB's first password, to be changed at once: it is in the state. Not in terraform.tfvars, but in TF_VAR_influx_first_password."
  type        = string
  default     = null
  sensitive   = true
}

variable "device_cidrs" {
  description = "From where devices may come. They show a certificate anyway."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "devices_min" {
  description = "Devices that should always be connected, or somebody is told; null: nobody counts."
  type        = number
  default     = null
}

variable "architecture" {
  description = "X86_64 or ARM64: for which the images are built. ARM64 costs a fifth less."
  type        = string
  default     = "X86_64"
}

variable "subject_files" {
  description = "How many secrets the [[subject]] tables lie in; each takes 65 536 bytes, some 600 of them."
  type        = number
  default     = 1
}

variable "raw_days" {
  description = "Days that readings themselves are kept; null: as the environment says."
  type        = number
  default     = null
}

variable "restore_from_snapshot" {
  description = "The snapshot that a new database begins as; null for an empty one."
  type        = string
  default     = null
}
