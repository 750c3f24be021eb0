output "kms_key_arn" {
  description = "The key that everything is encrypted with."
  value       = aws_kms_key.this.arn
}

output "files" {
  description = "Name of each file to the ARN of its secret."
  value       = { for name, secret in aws_secretsmanager_secret.file : name => secret.arn }
}
