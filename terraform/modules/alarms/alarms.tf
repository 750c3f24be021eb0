# What somebody should be told of. Each alarm says what is wrong and where to look; all of them also say when it is over.
#
# A gateway that is silent raises alarms by its silence: `missing = "breaching"` where no figure is as bad as a bad one.

locals {
  gateway = { environment = var.name }
  service = { ClusterName = var.watched.cluster, ServiceName = var.watched.service }
  devices = { LoadBalancer = var.watched.devices_lb, TargetGroup = var.watched.devices_target }
  rds     = { DBInstanceIdentifier = var.database_identifier }

  always = {
    silent = {
      about     = "No gateway has told its metrics for 5 minutes. Look at the service's events and at the gateway's log."
      namespace = "Tributary", metric = "tributary_connections_open", dimensions = local.gateway
      statistic = "SampleCount", comparison = "LessThanThreshold", threshold = 1
      period    = 60, periods = 5, missing = "breaching"
    }
    store-failing = {
      about     = "The store takes nothing: devices keep what they have, nothing is lost yet. Look at the database."
      namespace = "Tributary", metric = "tributary_store_failing", dimensions = local.gateway
      statistic = "Maximum", comparison = "GreaterThanOrEqualToThreshold", threshold = 1
      period    = 60, periods = 3, missing = "notBreaching"
    }
    devices-silent = {
      about     = "Devices left more than a day ago. The page Fleet says which; revoke those that are gone for good."
      namespace = "Tributary", metric = "tributary_devices_silent", dimensions = local.gateway
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 300, periods = 3, missing = "notBreaching"
    }
    quarantined = {
      about     = "Something came that cannot be read, and is kept with its bytes. Look at the page Health."
      namespace = "Tributary", metric = "tributary_quarantined_total", dimensions = local.gateway
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 300, periods = 1, missing = "notBreaching"
    }
    refused = {
      about     = "Batches are refused. Devices keep them; the gateway's log has the reason."
      namespace = "Tributary", metric = "tributary_refused_total", dimensions = local.gateway
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = var.refused_max
      period    = 300, periods = 2, missing = "notBreaching"
    }
    handshakes = {
      about     = "Many TLS handshakes fail: certificates that ran out, or somebody who tries."
      namespace = "Tributary", metric = "tributary_handshakes_failed_total", dimensions = local.gateway
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = var.handshakes_failed_max
      period    = 300, periods = 2, missing = "notBreaching"
    }
    lag = {
      about     = "Readings wait for the time-series store. At 200 000, or after a minute, nothing more is acknowledged."
      namespace = "Tributary", metric = "tributary_timeseries_waiting", dimensions = local.gateway
      statistic = "Minimum", comparison = "GreaterThanThreshold", threshold = 100000
      period    = 60, periods = 3, missing = "notBreaching"
    }
    audit = {
      about     = "The audit trail could not be written."
      namespace = "Tributary", metric = "tributary_audit_failures_total", dimensions = local.gateway
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 300, periods = 1, missing = "notBreaching"
    }
    # Every device is refused once it has ended. It is made anew at half its life: README.md has the commands.
    revocation-list = {
      about     = "The revocation list ends within 3 days, and then every device is refused: tributary-certs crl, then put it in the secret ca.crl."
      namespace = "Tributary", metric = "tributary_revocation_list_seconds_left", dimensions = local.gateway
      statistic = "Minimum", comparison = "LessThanThreshold", threshold = 259200
      period    = 300, periods = 2, missing = "notBreaching"
    }
    revocation-list-failing = {
      about     = "The gateway could not write its revocation list anew; its log says why."
      namespace = "Tributary", metric = "tributary_revocation_list_failures_total", dimensions = local.gateway
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 300, periods = 1, missing = "notBreaching"
    }
    certificate = {
      about     = "A certificate of the gateway ends within 21 days: tributary-certs renew, and put it in its secret."
      namespace = "Tributary", metric = "tributary_certificate_seconds_left", dimensions = local.gateway
      statistic = "Minimum", comparison = "LessThanThreshold", threshold = 1814400
      period    = 300, periods = 2, missing = "notBreaching"
    }
    authority = {
      about     = "An authority of devices ends within 90 days, and all devices have to learn of the next one: docs/watching.md."
      namespace = "Tributary", metric = "tributary_authority_seconds_left", dimensions = local.gateway
      statistic = "Minimum", comparison = "LessThanThreshold", threshold = 7776000
      period    = 300, periods = 2, missing = "notBreaching"
    }
    doctor-fault = {
      about     = "The doctor found a fault: a certificate that ends within 7 days, an open key, a damaged audit trail. Its log has a line for each."
      namespace = "Tributary", metric = aws_cloudwatch_log_metric_filter.doctor["fault"].metric_transformation[0].name, dimensions = {}
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 3600, periods = 1, missing = "notBreaching"
    }
    doctor-unknown = {
      about     = "The doctor could not look at something: what it would have found is not known. Its log has a line that begins with unknown."
      namespace = "Tributary", metric = aws_cloudwatch_log_metric_filter.doctor["unknown"].metric_transformation[0].name, dimensions = {}
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 3600, periods = 1, missing = "notBreaching"
    }
    doctor-silent = {
      about     = "The doctor has not looked for a day. Look at the schedule and at the doctor's log."
      namespace = "AWS/Logs", metric = "IncomingLogEvents", dimensions = { LogGroupName = var.watched.doctor_log }
      statistic = "Sum", comparison = "LessThanThreshold", threshold = 1
      period    = 86400, periods = 1, missing = "breaching"
    }
    devices-unhealthy = {
      about     = "A gateway does not answer its health check."
      namespace = "AWS/NetworkELB", metric = "UnHealthyHostCount", dimensions = local.devices
      statistic = "Minimum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 60, periods = 5, missing = "notBreaching"
    }
    processor = {
      about     = "Gateways are short of processor although there are as many as may be. Raise gateways_max or cpu."
      namespace = "AWS/ECS", metric = "CPUUtilization", dimensions = local.service
      statistic = "Average", comparison = "GreaterThanThreshold", threshold = 85
      period    = 300, periods = 3, missing = "notBreaching"
    }
    memory = {
      about     = "Gateways are short of memory."
      namespace = "AWS/ECS", metric = "MemoryUtilization", dimensions = local.service
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 85
      period    = 300, periods = 2, missing = "notBreaching"
    }
    database-storage = {
      about     = "The database's disk is nearly full, and RDS may not make it larger. Raise storage_gib_max, or set raw_days."
      namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = local.rds
      statistic = "Minimum", comparison = "LessThanThreshold", threshold = var.free_gib_min * 1073741824
      period    = 300, periods = 2, missing = "breaching"
    }
    database-processor = {
      about     = "The database is short of processor."
      namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.rds
      statistic = "Average", comparison = "GreaterThanThreshold", threshold = 80
      period    = 300, periods = 3, missing = "notBreaching"
    }
    database-transactions = {
      about     = "The database nears the end of its transaction numbers: vacuum does not keep up."
      namespace = "AWS/RDS", metric = "MaximumUsedTransactionIDs", dimensions = local.rds
      statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 1000000000
      period    = 3600, periods = 1, missing = "notBreaching"
    }
  }

  # Kinds of alarms that gateways raise themselves, each about a device; the page Ledger has which, and when.
  kinds = {
    unexplained_gap   = "Batches are lost: neither their device nor the gateway has them."
    buffer_copied     = "A device speaks of another buffer than before: a copy was put back, or two agents run from one disk image."
    device_twice      = "Two connections with one certificate take over from each other: its key was copied. Revoke it, and enrol it again."
    conflict          = "Two different batches came under one number; the second is in quarantine."
    conflict_not_kept = "Of two batches under one number the second found no room in quarantine."
    quarantine_full   = "A device's quarantine is full: what cannot be read is refused."
    too_many_series   = "A device names more series than it may."
    identity_mismatch = "What a device sends bears another device's name; it is in quarantine."
    sink_refused      = "The time-series store never takes some readings; the database has them."
  }
  raised = {
    for kind, about in local.kinds : "raised-${replace(kind, "_", "-")}" => {
      about      = "${about} Look at the page Ledger."
      namespace  = "Tributary", metric = "tributary_alarms_total"
      dimensions = merge(local.gateway, { kind = kind })
      statistic  = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period     = 300, periods = 1, missing = "notBreaching"
    }
  }

  people = !var.has_dashboard ? {} : {
    people-errors = {
      about      = "The dashboard answers with errors."
      namespace  = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count"
      dimensions = { LoadBalancer = var.watched.people_lb, TargetGroup = var.watched.people_target }
      statistic  = "Sum", comparison = "GreaterThanThreshold", threshold = 10
      period     = 300, periods = 2, missing = "notBreaching"
    }
    people-certificate = {
      about      = "The dashboard's certificate ends within 30 days, and ACM has not renewed it."
      namespace  = "AWS/CertificateManager", metric = "DaysToExpiry"
      dimensions = { CertificateArn = var.watched.certificate }
      statistic  = "Minimum", comparison = "LessThanThreshold", threshold = 30
      period     = 86400, periods = 1, missing = "notBreaching"
    }
  }

  iot = var.iot == null ? {} : {
    broker-away = {
      about     = "No gateway is connected to AWS IoT Core: what devices send there waits."
      namespace = "Tributary", metric = "tributary_broker_connections_open", dimensions = local.gateway
      statistic = "Maximum", comparison = "LessThanThreshold", threshold = 1
      period    = 60, periods = 5, missing = "breaching"
    }
    broker-refused = {
      about     = "Messages from AWS IoT Core were acknowledged although they could not be taken. The gateway's log has the reason."
      namespace = "Tributary", metric = "tributary_broker_messages_refused_total", dimensions = local.gateway
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 300, periods = 1, missing = "notBreaching"
    }
    iot-denied = {
      about     = "Many connections to AWS IoT Core are denied: certificates or policies."
      namespace = "AWS/IoT", metric = "Connect.AuthError", dimensions = { Protocol = "MQTT" }
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = var.handshakes_failed_max
      period    = 300, periods = 2, missing = "notBreaching"
    }
    iot-rule = {
      about     = "The rule of presence could not deliver; what it could not is in the log group `undelivered`."
      namespace = "AWS/Logs", metric = "IncomingLogEvents", dimensions = { LogGroupName = try(var.iot.undelivered_log_group, "") }
      statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
      period    = 300, periods = 1, missing = "notBreaching"
    }
  }

  fleet = var.devices_min == null ? {} : {
    devices-away = {
      about     = "Fewer devices than there should be are connected to the gateways' listeners."
      namespace = "Tributary", metric = "tributary_connections_open", dimensions = local.gateway
      statistic = "Sum", comparison = "LessThanThreshold", threshold = var.devices_min
      period    = 60, periods = 15, missing = "breaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = merge(local.always, local.raised, local.people, local.iot, local.fleet)

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.this.arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

# A line of the doctor's begins with its level and what it looked at. What it says of a broker is left out where it does not
# know: that wants a canary's certificate, which gateways have only while somebody tries a broker's rules. No other check
# begins with b; these expressions have no negation.
locals {
  doctor = { fault = "%^fault.%", unknown = "%^unknown..[ac-z]%" }
}

resource "aws_cloudwatch_log_metric_filter" "doctor" {
  for_each = local.doctor

  name           = "${var.name}-doctor-${each.key}"
  log_group_name = var.watched.doctor_log
  pattern        = each.value

  metric_transformation {
    name      = "${var.name}-doctor-${each.key}"
    namespace = "Tributary"
    value     = "1"
  }
}
