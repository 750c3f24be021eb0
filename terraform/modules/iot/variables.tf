variable "name" {
  description = "Begins the name of everything here, and is the name of the provisioning template, so at most 36 characters."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "3 to 24 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "region" {
  description = "The region that all of it is in."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that logs are encrypted with."
  type        = string
}

variable "topic_arn" {
  description = "The SNS topic that Device Defender tells what it found."
  type        = string
}

variable "authority_pem" {
  description = "The certificate of your own authority, PEM, if AWS IoT Core is to take what it signs; null for AWS's own alone."
  type        = string
  default     = null

  validation {
    condition     = var.authority_pem == null || can(regex("^-----BEGIN CERTIFICATE-----", var.authority_pem))
    error_message = "A certificate as PEM; `tributary-certs init` writes it into ca.crt."
  }
}

variable "register_on_first_connection" {
  description = "Make a thing of each certificate of your own authority that is shown for the first time."
  type        = bool
  default     = false
}

variable "gateway_csr_pem" {
  description = "The gateways' signing request, PEM: AWS IoT signs it, the key stays with you. null where no gateway is a client yet."
  type        = string
  default     = null

  validation {
    condition     = var.gateway_csr_pem == null || can(regex("^-----BEGIN CERTIFICATE REQUEST-----", var.gateway_csr_pem))
    error_message = "A signing request as PEM; README.md has the command of openssl."
  }
}

variable "gateway_is_desk" {
  description = "New devices ask the gateway for their certificate ([authority] of the gateway), not AWS IoT's fleet provisioning."
  type        = bool
  default     = false
}

variable "provisioning_open" {
  description = "Fleet provisioning takes new devices. Close it when none are expected."
  type        = bool
  default     = false
}

variable "provisioning_hook_arn" {
  description = "A Lambda function that decides which ids may become devices. Without it, the claim's key can be any."
  type        = string
  default     = null

  validation {
    condition     = var.provisioning_hook_arn != null || !var.provisioning_open || var.accept_any_id
    error_message = "Fleet provisioning that is open needs a hook; or set accept_any_id, and mean it."
  }
}

variable "accept_any_id" {
  description = "Whoever has the claim's key may be any device: for a trial."
  type        = bool
  default     = false
}

variable "account_settings" {
  description = "Set what is one for the whole account and region: AWS IoT's logs, Device Defender's audit. One environment does."
  type        = bool
  default     = true
}

variable "log_level" {
  description = "What AWS IoT logs: ERROR, WARN, INFO or DEBUG. INFO has a line for each connection and each publish, and is paid by the byte."
  type        = string
  default     = "WARN"

  validation {
    condition     = contains(["ERROR", "WARN", "INFO", "DEBUG"], var.log_level)
    error_message = "ERROR, WARN, INFO or DEBUG; off is what Device Defender complains of."
  }
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365
}
