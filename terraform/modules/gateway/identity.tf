# Two roles for a task: the one that starts it, and the one that it is. And one for setting up the database, which alone
# may read the passwords of the master and of those who change the schema or only read.

locals {
  # Where secrets are opened: by Secrets Manager, for this account, and not by hand.
  open_secrets = {
    Effect    = "Allow"
    Action    = "kms:Decrypt"
    Resource  = var.kms_key_arn
    Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.amazonaws.com" } }
  }
  for_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role" "start" {
  name               = "${var.name}-start"
  assume_role_policy = local.for_tasks
}

resource "aws_iam_role_policy" "start" {
  #checkov:skip=CKV_AWS_355:ecr:GetAuthorizationToken has no resource, AWS takes nothing but "*"
  name = "start"
  role = aws_iam_role.start.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
        Resource = [for repository in aws_ecr_repository.image : repository.arn]
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in aws_cloudwatch_log_group.task : "${group.arn}:*"]
      },
    ]
  })
}

resource "aws_iam_role" "gateway" {
  name               = "${var.name}-gateway"
  assume_role_policy = local.for_tasks
}

resource "aws_iam_role_policy" "gateway" {
  name = "gateway"
  role = aws_iam_role.gateway.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = values(local.files_of_gateway)
      },
      local.open_secrets,
      {
        Effect    = "Allow"
        Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
        Resource  = aws_efs_file_system.state.arn
        Condition = { StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.state.arn } }
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.task["metrics"].arn}:*"
      },
    ]
  })
}

resource "aws_iam_role_policy" "timestream" {
  #checkov:skip=CKV_AWS_355:timestream:DescribeEndpoints has no resource, AWS takes nothing but "*"
  count = try(var.timeseries.type, "") == "timestream" ? 1 : 0

  name = "timestream"
  role = aws_iam_role.gateway.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "timestream:WriteRecords"
        Resource = var.timeseries.table_arn
      },
      {
        Effect   = "Allow"
        Action   = "timestream:DescribeEndpoints"
        Resource = "*"
      },
    ]
  })
}

# Where the gateway is the desk that has AWS IoT issue certificates: docs/aws-iot.md.
resource "aws_iam_role_policy" "authority" {
  count = var.authority == null ? 0 : 1

  name = "authority"
  role = aws_iam_role.gateway.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["iot:CreateThing", "iot:ListThingPrincipals", "iot:AttachThingPrincipal", "iot:DetachThingPrincipal"]
        Resource = "arn:${local.partition}:iot:${var.region}:${local.account}:thing/*"
      },
      {
        Effect   = "Allow"
        Action   = ["iot:DescribeCertificate", "iot:AttachThingPrincipal", "iot:DetachThingPrincipal", "iot:AttachPolicy", "iot:DetachPolicy", "iot:UpdateCertificate", "iot:DeleteCertificate"]
        Resource = "arn:${local.partition}:iot:${var.region}:${local.account}:cert/*"
      },
      # It is about no resource that is there already; AWS takes nothing but "*".
      {
        Effect   = "Allow"
        Action   = "iot:CreateCertificateFromCsr"
        Resource = "*"
      },
    ]
  })
}

resource "aws_iam_role" "setup" {
  name               = "${var.name}-setup"
  assume_role_policy = local.for_tasks
}

resource "aws_iam_role_policy" "setup" {
  name = "setup"
  role = aws_iam_role.setup.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = values(local.files_of_setup)
      },
      local.open_secrets,
    ]
  })
}
