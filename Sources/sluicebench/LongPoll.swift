// x
import ArgumentParser
struct LongPoll: ParsableCommand { func run() throws {} }
