# The whole put together without an account: Terraform makes up what AWS would answer, and everything else is worked out as
# it would be. `terraform/check` runs this.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iot_endpoint" {
    defaults = { endpoint_address = "example-ats.iot.eu-central-1.amazonaws.com" }
  }
  mock_resource "aws_db_instance" {
    defaults = { master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master" }] }
  }
}

variables {
  name                = "tributary-test"
  region              = "eu-central-1"
  cidr                = "10.30.0.0/16"
  zones               = ["a", "b"]
  nat_per_zone        = true
  image_tag           = "0.1.0"
  gateway             = { cpu = 512, memory_mib = 1024, min = 1, max = 2 }
  log_days            = 365
  deletion_protection = true
  database = {
    instance_class  = "db.t4g.micro"
    multi_az        = true
    storage_gib     = 20
    storage_gib_max = 50
    backup_days     = 35
  }
}

run "a_small_one_has_no_dashboard_and_no_broker" {
  assert {
    condition     = output.people_host == null && output.iot == null && output.user_pool_id == null
    error_message = "There is something for people, or AWS IoT Core, that nobody asked for."
  }
  assert {
    condition     = !strcontains(output.settings, "[broker]") && !strcontains(output.settings, "[timeseries]")
    error_message = "The gateway is told of a broker or a store that is not there."
  }
  assert {
    condition     = strcontains(output.settings, "tls = \"verify-full\"") && strcontains(output.settings, "crl_file")
    error_message = "The gateway must know its database by certificate, and devices' revocations."
  }
}

run "everything_at_once_fits_together" {
  variables {
    dashboard   = { domain = "readings.example.org", certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1" }
    timestream  = {}
    devices_min = 10
    alarm_mail  = ["operator@example.org"]
    iot = {
      authority_pem                = "-----BEGIN CERTIFICATE-----\n"
      register_on_first_connection = true
      gateway_csr_pem              = "-----BEGIN CERTIFICATE REQUEST-----\n"
      gateway_is_desk              = true
      provisioning_open            = true
      provisioning_hook_arn        = "arn:aws:lambda:eu-central-1:123456789012:function:known"
    }
  }

  assert {
    condition = alltrue([for line in [
      "address = \"example-ats.iot.eu-central-1.amazonaws.com:8883\"", "kind = \"aws_iot\"", "type = \"timestream\"",
      "[receipts]", "client_id = \"tributary-test-gateway-@INSTANCE@\"",
    ] : strcontains(output.settings, line)])
    error_message = "The gateway is not told of AWS IoT Core, its authority, the keys for receipts, or Timestream."
  }
  assert {
    condition     = output.people_host != null && output.iot != null
    error_message = "There is no dashboard, or no AWS IoT Core."
  }
}

run "influx_is_told_as_such" {
  variables {
    influx                = {}
    influx_first_password = "only-for-the-first-start"
  }

  assert {
    condition     = strcontains(output.settings, "type = \"influx-2\"") && strcontains(output.settings, "influx.token")
    error_message = "The gateway is not told of InfluxDB."
  }
  assert {
    condition     = !strcontains(output.settings, "only-for-the-first-start")
    error_message = "A password is in the configuration."
  }
}

run "subjects_may_lie_in_more_than_one_secret" {
  variables {
    subject_files = 17
  }

  assert {
    condition     = length([for name in keys(output.secrets) : name if startswith(name, "subjects")]) == 17 && contains(keys(output.secrets), "subjects-17.toml")
    error_message = "There is no room for the subjects of 10 000 devices."
  }
}

run "a_hundred_secrets_of_subjects_are_refused" {
  command = plan

  variables {
    subject_files = 100
  }

  expect_failures = [var.subject_files]
}

run "two_time_series_stores_are_one_too_many" {
  command = plan

  variables {
    timestream            = {}
    influx                = {}
    influx_first_password = "only-for-the-first-start"
  }

  expect_failures = [var.timestream]
}
