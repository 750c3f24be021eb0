terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }

  # Which bucket is said by `terraform init -backend-config=backend.hcl`: ../../README.md. It must be encrypted and versioned,
  # and nobody but those who deploy may read it: the user pool's client secret is in the state.
  backend "s3" {
    key          = "tributary/prod.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Application = "tributary"
      Environment = "prod"
      ManagedBy   = "terraform"
      # Readings of a person's health are special: whoever looks after the account should see it at each part.
      Data = "personal"
    }
  }
}
