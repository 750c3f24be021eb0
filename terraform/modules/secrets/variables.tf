variable "name" {
  description = "Begins the name of everything here, and is the folder of the secrets: `tributary-prod/gateway.key`."
  type        = string
}

variable "region" {
  description = "The region that all of it is in."
  type        = string
}

variable "files" {
  description = "Files that the gateway reads from `/etc/tributary`: name to what it is. Each becomes a secret to be filled by hand."
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.files) : can(regex("^[a-z0-9][a-z0-9.-]{0,62}$", name))])
    error_message = "Names of lower-case letters, digits, dots and hyphens: they become names of files."
  }
}

variable "recovery_days" {
  description = "Days in which a deleted secret can be had back: 7 to 30, or 0 for at once, which only a trial wants."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_days == 0 || (var.recovery_days >= 7 && var.recovery_days <= 30)
    error_message = "0, or 7 to 30."
  }
}
