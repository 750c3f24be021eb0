variable "name" {
  description = "Begins the name of everything here."
  type        = string
}

variable "region" {
  description = "The region that all of it is in."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that images, logs and the file system are encrypted with, and that opens secrets."
  type        = string
}

variable "files" {
  description = "Files that the gateway reads: name to the ARN of its secret."
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["gateway.crt", "gateway.key", "ca.crt", "ingest.password", "migrate.password", "query.password", "database-ca.crt"] : contains(keys(var.files), name)])
    error_message = "gateway.crt, gateway.key, ca.crt, database-ca.crt and the passwords of ingest, migrate and query must be there."
  }
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "public_subnet_ids" {
  description = "Where balancers are."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Where gateways are."
  type        = list(string)
}

variable "database" {
  description = "PostgreSQL: where it is, its security group, and where RDS keeps the master's password."
  type = object({
    host              = string
    port              = number
    name              = string
    security_group_id = string
    master_secret_arn = string
  })
}

variable "broker" {
  description = "AWS IoT Core as a second door: its endpoint, what client ids begin with, connections of each gateway. null: only the listener."
  type = object({
    endpoint    = string
    client_id   = string
    connections = optional(number, 1)
  })
  default = null
}

variable "authority" {
  description = "Where the gateway has AWS IoT issue certificates: the policy and thing type that devices get. null: it issues none."
  type        = object({ policy = string, thing_type = string })
  default     = null

  validation {
    condition     = var.authority == null || var.broker != null
    error_message = "What AWS signs is for AWS IoT Core alone: it needs `broker` too."
  }
}

variable "timeseries" {
  description = "A time-series store beside PostgreSQL: `timestream` with database, table and its ARN, or `influx-2` with url, org, bucket and security group."
  type = object({
    type              = string
    database          = optional(string)
    table             = optional(string)
    table_arn         = optional(string)
    url               = optional(string)
    org               = optional(string)
    bucket            = optional(string)
    security_group_id = optional(string)
  })
  default = null

  validation {
    condition     = var.timeseries == null || contains(["timestream", "influx-2"], try(var.timeseries.type, ""))
    error_message = "`timestream` or `influx-2`."
  }
}

variable "dashboard" {
  description = "The dashboard's name, its certificate in ACM, and from where people may come. null: there is none."
  type = object({
    domain          = string
    certificate_arn = string
    cidrs           = optional(list(string), ["0.0.0.0/0"])
  })
  default = null

  validation {
    condition     = var.dashboard == null || can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.dashboard.domain))
    error_message = "`domain` must be a name such as readings.example.org."
  }
}

variable "device_cidrs" {
  description = "From where devices may come. They show a certificate anyway."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = alltrue([for range in var.device_cidrs : can(cidrhost(range, 0))])
    error_message = "IPv4 ranges, such as 203.0.113.0/24."
  }
}

variable "image_tag" {
  description = "Which version runs: the tag of all images of gateway/containers. Never `latest`."
  type        = string

  validation {
    condition     = can(regex("^[0-9A-Za-z][0-9A-Za-z._-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "A tag that names one version; `latest` does not."
  }
}

variable "metrics_image" {
  description = "AWS's OpenTelemetry collector, by its tag; a digest is better still."
  type        = string
  default     = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"

  validation {
    condition     = can(regex("[:@]", var.metrics_image)) && !endswith(var.metrics_image, ":latest")
    error_message = "With a tag other than `latest`, or a digest."
  }
}

variable "architecture" {
  description = "X86_64 or ARM64: for which the images are built. ARM64 costs a fifth less."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "X86_64 or ARM64."
  }
}

variable "cpu" {
  description = "Processor of a task in 1024ths: 512, 1024, 2048, 4096."
  type        = number
  default     = 1024

  validation {
    condition     = contains([512, 1024, 2048, 4096], var.cpu)
    error_message = "512, 1024, 2048 or 4096: fewer leave a handshake no room, and Fargate wants a step."
  }
}

variable "memory_mib" {
  description = "Memory of a task, MiB; Fargate allows 2 to 8 times the processor. Plan with 50 KiB for a connected device: 26 were measured (docs/scale.md)."
  type        = number
  default     = 2048

  validation {
    condition     = var.memory_mib % 1024 == 0 && var.memory_mib >= 2 * var.cpu && var.memory_mib <= 8 * var.cpu
    error_message = "Whole GiB, from 2 to 8 times `cpu`."
  }
}

variable "connections_max" {
  description = "Devices that one gateway takes at once."
  type        = number
  default     = 20000

  validation {
    condition     = var.connections_max >= 1 && var.connections_max <= 60000
    error_message = "1 to 60000: a task has 65536 descriptors."
  }
}

variable "gateways_min" {
  description = "Gateways that always run; 2 and more stay one when a zone or a task is away."
  type        = number
  default     = 2

  validation {
    condition     = var.gateways_min >= 1
    error_message = "At least 1."
  }
}

variable "gateways_max" {
  description = "Gateways at most. Each has 11 connections to PostgreSQL."
  type        = number
  default     = 6

  validation {
    condition     = var.gateways_max >= var.gateways_min
    error_message = "At least gateways_min."
  }
}

variable "raw_days" {
  description = "Days that readings themselves are kept; their sums stay. null: all, for ever."
  type        = number
  default     = null

  validation {
    condition     = var.raw_days == null || try(var.raw_days >= 1, false)
    error_message = "1 or more, or null."
  }
}

variable "audit_days" {
  description = "Days that an entry of the audit trail is kept, from 30 on."
  type        = number
  default     = 1096

  validation {
    condition     = var.audit_days >= 30 && var.audit_days <= 36500
    error_message = "30 to 36500."
  }
}

variable "log_level" {
  description = "What gateways log: `info`, or a filter as TRIBUTARY_LOG takes it."
  type        = string
  default     = "info"
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365
}

variable "deletion_protection" {
  description = "Refuse to delete balancers and the user pool until this is taken away."
  type        = bool
  default     = true
}
