# What devices may do at AWS IoT Core is what docs/aws-iot.md says, to the letter.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  name        = "tributary"
  region      = "eu-central-1"
  kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1"
  topic_arn   = "arn:aws:sns:eu-central-1:123456789012:alarms"
}

run "the_policy_of_devices_is_the_documented_one" {
  assert {
    condition = jsondecode(aws_iot_policy.device.policy) == jsondecode(replace(replace(
      regexall("(?s)```json\n(.*?)```", file("../../../docs/aws-iot.md"))[0][0],
    "REGION", "eu-central-1"), "ACCOUNT", "123456789012"))
    error_message = "docs/aws-iot.md and the policy differ."
  }
}

run "the_template_is_the_documented_one_and_gives_a_type" {
  assert {
    condition = jsonencode(jsondecode(replace(
      aws_iot_provisioning_template.this.template_body, "\"ThingTypeName\":\"tributary\"", "\"ThingTypeName\":null"))) == jsonencode(merge(
      jsondecode(regexall("(?s)```json\n(.*?)```", file("../../../docs/aws-iot.md"))[1][0]), { Resources = merge(
        jsondecode(regexall("(?s)```json\n(.*?)```", file("../../../docs/aws-iot.md"))[1][0]).Resources,
        { thing = { Type = "AWS::IoT::Thing", Properties = { ThingName = { Ref = "SerialNumber" }, ThingTypeName = null } } },
    ) }))
    error_message = "docs/aws-iot.md and the template differ in more than the thing's type."
  }
}

run "no_policy_allows_everything" {
  assert {
    condition = alltrue(flatten([for policy in [aws_iot_policy.device.policy, aws_iot_policy.claim.policy, aws_iot_policy.gateway.policy] :
      [for statement in jsondecode(policy).Statement : [
        for resource in flatten([statement.Resource]) : !can(regex("^\\*$|:[a-z]+/(\\$share/)?\\*", resource))
    ]]]))
    error_message = "A policy has a resource that is nothing but a wildcard."
  }
  assert {
    condition = alltrue([for policy in [aws_iot_policy.device.policy, aws_iot_policy.claim.policy, aws_iot_policy.gateway.policy] :
    !strcontains(policy, "iot:*")])
    error_message = "A policy allows all actions."
  }
}

run "a_claim_asks_only_whom_it_is_to_ask" {
  variables {
    gateway_is_desk = true
  }

  assert {
    condition     = strcontains(aws_iot_policy.claim.policy, "topic/trib/1/claim-*/enrol") && !strcontains(aws_iot_policy.claim.policy, "create-from-csr")
    error_message = "Where the gateway is the desk, the claim may ask it and nobody else."
  }
}

run "open_provisioning_without_a_hook_is_refused" {
  command = plan

  variables {
    provisioning_open = true
  }

  expect_failures = [var.provisioning_hook_arn]
}

run "no_policy_name_is_longer_than_aws_takes" {
  assert {
    condition     = length(aws_iot_provisioning_template.this.name) <= 36
    error_message = "A template's name has at most 36 characters."
  }
}
