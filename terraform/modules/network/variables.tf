variable "name" {
  description = "Begins the name of everything here: `tributary-prod`."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "3 to 24 lower-case letters, digits and hyphens, a letter first: balancers' names have little room."
  }
}

variable "region" {
  description = "The region that all of it is in: `eu-central-1`."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region's code, such as eu-central-1."
  }
}

variable "cidr" {
  description = "Addresses of the network, a /16: `10.20.0.0/16`. Choose one that your other networks do not have."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "An IPv4 range that ends in /16."
  }
}

variable "zones" {
  description = "Availability zones to be in, by their letters, 2 to 4: a database with a standby needs 2. Never change their order."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = contains([2, 3, 4], length(distinct(var.zones))) && alltrue([for letter in var.zones : can(regex("^[a-f]$", letter))])
    error_message = "2 to 4 letters from a to f, each once."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone, so that no zone depends on another; without it there is one."
  type        = bool
  default     = true
}

variable "log_days" {
  description = "Days that flow logs are kept. One of CloudWatch's own steps."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "One of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "kms_key_arn" {
  description = "The key that logs are encrypted with."
  type        = string
}
