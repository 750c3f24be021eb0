# Who may look: people who were invited, with a password of 15 characters or more and a second factor.

resource "aws_cognito_user_pool" "people" {
  for_each = local.dashboard

  name                     = var.name
  deletion_protection      = var.deletion_protection ? "ACTIVE" : "INACTIVE"
  mfa_configuration        = "ON"
  username_attributes      = ["email"]
  auto_verified_attributes = ["email"]

  software_token_mfa_configuration {
    enabled = true
  }

  admin_create_user_config {
    allow_admin_create_user_only = true
  }

  password_policy {
    minimum_length                   = 15
    require_lowercase                = false
    require_numbers                  = false
    require_symbols                  = false
    require_uppercase                = false
    temporary_password_validity_days = 3
  }

  account_recovery_setting {
    recovery_mechanism {
      name     = "verified_email"
      priority = 1
    }
  }
}

resource "aws_cognito_user_pool_domain" "people" {
  for_each = local.dashboard

  # One name for all of AWS's customers in a region: the account's number makes it ours.
  domain       = "${var.name}-${local.account}"
  user_pool_id = aws_cognito_user_pool.people["this"].id
}

resource "aws_cognito_user_pool_client" "people" {
  for_each = local.dashboard

  name                                 = "dashboard"
  user_pool_id                         = aws_cognito_user_pool.people["this"].id
  generate_secret                      = true
  callback_urls                        = ["https://${each.value.domain}/oauth2/idpresponse"]
  allowed_oauth_flows                  = ["code"]
  allowed_oauth_flows_user_pool_client = true
  allowed_oauth_scopes                 = ["openid"]
  supported_identity_providers         = ["COGNITO"]
  prevent_user_existence_errors        = "ENABLED"
  enable_token_revocation              = true
}
