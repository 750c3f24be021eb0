# One network for one environment, in three rings: public (balancers and NAT, nothing else), private (gateways, no address
# of their own that the world could reach) and isolated (databases, no way out at all).

locals {
  # By name, not by whatever list AWS gives today: a zone that is new, or away, must not move all subnets.
  zones = [for letter in var.zones : "${var.region}${letter}"]
  # A /16 gives 16 rings of /20; each ring has its own place for each zone.
  public   = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index) }
  private  = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index + 4) }
  isolated = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index + 8) }
  # The zones that have a NAT gateway of their own; the others use the first one's.
  nat = var.nat_per_zone ? toset(local.zones) : toset([local.zones[0]])
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

# Whatever is not told which group it is in reaches nothing and is reached by nobody.
resource "aws_default_security_group" "none" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-none" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = local.public

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_subnet" "private" {
  for_each = local.private

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_subnet" "isolated" {
  for_each = local.isolated

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-isolated-${each.key}" }
}
