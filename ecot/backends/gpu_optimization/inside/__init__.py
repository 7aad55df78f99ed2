"""What runs inside the sandbox, beside a candidate or in its stead; only `exchange` is imported outside as well."""
