variable "name" {
  description = "Begins the name of everything here, and is the dimension `environment` of the gateways' metrics."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that what is told is encrypted with."
  type        = string
}

variable "mail" {
  description = "Addresses that are told. Each has to confirm."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.mail : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "Mail addresses."
  }
}

variable "watched" {
  description = "The gateways' service, balancers and log groups: the output `alarmed` of the module gateway."
  type = object({
    cluster        = string
    service        = string
    devices_lb     = string
    devices_target = string
    people_lb      = optional(string)
    people_target  = optional(string)
    certificate    = optional(string)
    doctor_log     = string
  })
}

variable "has_dashboard" {
  description = "There is a dashboard, whose balancer and certificate are to be watched."
  type        = bool
  default     = false
}

variable "database_identifier" {
  description = "The database's name in RDS."
  type        = string
}

variable "iot" {
  description = "AWS IoT Core, where it is in front: the log group of what its rule could not deliver."
  type        = object({ undelivered_log_group = string })
  default     = null
}

variable "devices_min" {
  description = "Devices that should always be connected to the listeners; null: nobody counts."
  type        = number
  default     = null

  validation {
    condition     = var.devices_min == null || try(var.devices_min >= 1, false)
    error_message = "1 or more, or null."
  }
}

variable "refused_max" {
  description = "Batches that may be refused within 5 minutes before somebody is told."
  type        = number
  default     = 10
}

variable "handshakes_failed_max" {
  description = "TLS handshakes that may fail within 5 minutes before somebody is told: the internet knocks now and then."
  type        = number
  default     = 200
}

variable "free_gib_min" {
  description = "Free GiB of the database's disk below which somebody is told."
  type        = number
  default     = 10

  validation {
    condition     = var.free_gib_min >= 1
    error_message = "At least 1."
  }
}
