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

variable "restore_from_snapshot" {
  description = "The snapshot that a new database begins as; null for an empty one."
  type        = string
  default     = null
}
