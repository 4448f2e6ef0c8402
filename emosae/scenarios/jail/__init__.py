"""What runs inside the sandbox. Standard library only, relative imports only: the folder is mounted there by itself.

Four kinds of process, so that a program under test holds nothing worth stealing or forging:

* the tester reads jobs and runs their `assert` lines; in them the program's functions are remote calls, so that a line
  compares plain values with the tester's own operators and builtins;
* the runner reads nothing; for each job it forks a keeper, whose memory is therefore as clean;
* the keeper hands the code and then single calls to the program, minds the clock, and kills it at the end;
* the program sees its own code and one call after another, never a test, an expected value or a verdict. A filter
  lets it compute, read files and answer; it cannot start a process, send a signal or open a socket, its memory is
  limited, and there is nowhere to write.
"""
