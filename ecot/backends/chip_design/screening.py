"""Screen a compiled program: what a candidate may call, judged after all preprocessing is done.

The compiler's output names every system task and function that is left in the design, so neither macros nor pasted
tokens nor included text can hide one, and code that is never elaborated does no harm.
"""

from __future__ import annotations

import re

from ecot.backends.chip_design.lexer import words

ALLOWED_CALLS = words(
    """
    $display $displayb $displayh $displayo $write $writeb $writeh $writeo
    $strobe $strobeb $strobeh $strobeo $monitor $monitorb $monitorh $monitoro $monitoron $monitoroff
    $sformat $sformatf $psprintf $swrite $swriteb $swriteh $swriteo $sscanf
    $error $fatal $info $warning $finish $finish_and_return $stop
    $time $stime $realtime $simtime $abstime $timeformat $printtimescale
    $random $urandom $urandom_range
    $dist_chi_square $dist_erlang $dist_exponential $dist_normal $dist_poisson $dist_t $dist_uniform
    $bits $clog2 $signed $unsigned $countbits $countones $onehot $onehot0 $isunknown $cast
    $size $left $right $low $high $increment $dimensions $unpacked_dimensions $typename
    $itor $rtoi $realtobits $bitstoreal $shortrealtobits $bitstoshortreal
    $abs $max $min $acos $acosh $asin $asinh $atan $atan2 $atanh $ceil $cos $cosh $exp $floor $hypot $ln $log10 $pow
    $sin $sinh $sqrt $tan $tanh
    $ivl_enum_method$name $ivl_enum_method$next $ivl_enum_method$prev
    $ivl_string_method$len $ivl_string_method$substr $ivl_string_method$to_vec
    $ivl_queue_method$pop_back $ivl_queue_method$pop_front $ivl_queue_method$size
    """
)
"""Neither files, nor arguments, nor other scopes, nor the host can be reached with these."""

KNOWN_DANGEROUS = words(
    """
    $fopen $fopena $fopenr $fopenw $fclose $fdisplay $fdisplayb $fdisplayh $fdisplayo $fwrite $fwriteb $fwriteh $fwriteo
    $fstrobe $fstrobeb $fstrobeh $fstrobeo $fmonitor $fmonitorb $fmonitorh $fmonitoro $fputc $fgetc $fgets $fread
    $fscanf $fseek $ftell $feof $ferror $fflush $rewind $ungetc
    $readmemb $readmemh $readmempath $sreadmemb $sreadmemh $writememb $writememh
    $dumpfile $dumpvars $dumpall $dumpflush $dumplimit $dumpoff $dumpon
    $dumpports $dumpportsall $dumpportsflush $dumpportslimit $dumpportsoff $dumpportson
    $value$plusargs $test$plusargs $system $sdf_annotate $table_model $input $log $nolog $key $nokey
    $save $restart $incsave $reset $list $scope $showscopes $showvars $vpi_tree $deposit $countdrivers $getpattern
    $simparam $simparam$str $ivlh_file_open $ivlh_read $ivlh_readline $ivlh_write $ivlh_writeline
    """
)
"""Reach files, arguments, other scopes or the simulator itself. Refused before the program is run."""

_CALL = re.compile(r'^(?:\s*%vpi_\S*|\S+\s+\.sfunc\S*)\s+\d+\s+\d+\s+"(\$[\w$]+)"', re.ASCII)
_CALL_LIKE = re.compile(r"^\s*%vpi|^\S+\s+\.sfunc")
_FORCE = re.compile(r"^\s*%(force|release)\b")


def system_calls(program: str) -> frozenset[str]:
    """The system tasks and functions that a compiled program calls; `force` and `release` count as calls too.

    A statement `force` on an input port writes through to the testbench's own variable, and so to the golden model.
    """
    found = set()
    for line in program.splitlines():
        # Most lines are neither; two searches for a word are cheaper than a regular expression.
        if "%vpi" not in line and ".sfunc" not in line and "%force" not in line and "%release" not in line:
            continue
        if _CALL_LIKE.match(line):
            match = _CALL.match(line)
            # A form unknown to this parser is refused, not skipped.
            found.add(match[1] if match else "$unrecognised_call")
        elif match := _FORCE.match(line):
            found.add(match[1])
    return frozenset(found)


def refused_calls(calls: frozenset[str]) -> list[str]:
    """Those of the calls for which a program is not run at all."""
    return sorted(calls & (KNOWN_DANGEROUS | {"force", "release", "$unrecognised_call"}))


def unknown_calls(calls: frozenset[str]) -> list[str]:
    """Those of the calls that are neither allowed nor refused: the tool must say that it does not know them."""
    return sorted(calls - ALLOWED_CALLS - KNOWN_DANGEROUS - {"force", "release", "$unrecognised_call"})
