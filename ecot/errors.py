"""The exception hierarchy.

Every class is also the standard exception that it refines, so callers may catch either. An error that a user can mend
says what was given, what is allowed and what to do.
"""


class EcotError(Exception):
    """Anything that this package raises on purpose."""


class ConfigError(EcotError, ValueError):
    """A configuration is wrong: the message names the file, the key and the remedy."""


class DataError(EcotError, ValueError):
    """A row, file or task is malformed: the message names the place, the field and the reason."""


class TemplateError(EcotError, ValueError):
    """A chat template would lose or alter text that is to be trained."""


class BudgetError(EcotError, ValueError):
    """The data at hand cannot fill a token budget."""


class PlanError(EcotError, ValueError):
    """A pack plan does not fit the cluster, the store or the run that it is used with."""


class ToolError(EcotError, RuntimeError):
    """A tool or the harness itself failed; never the candidate's fault and never training data."""


class SandboxError(ToolError):
    """No sandbox can be had, or it broke: candidate code is never run without one."""


class MissingToolError(ToolError):
    """A tool is not installed: the message says how to get it."""


class EndpointError(EcotError, RuntimeError):
    """A model's server refuses a request or does not answer: the message says what it said and what to do."""


class CheckpointError(EcotError, RuntimeError):
    """A checkpoint is incomplete, damaged or belongs to another run: the message names the file."""


class TrainingError(EcotError, RuntimeError):
    """Training cannot go on: the message names the step and the last good checkpoint."""
