output "topic_arn" {
  description = "The topic that alarms go to; subscribe what else should hear them."
  value       = aws_sns_topic.this.arn
}

output "names" {
  description = "The alarms there are."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])
}
