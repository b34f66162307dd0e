// Package storetest is the suite that every storage engine passes. The comments
// of package store are the contract; here each sentence of them is a subtest.
//
// Run takes an engine through the contract, through concurrent use, and through
// the model check: random operations are carried out by the engine and by a small
// model of bytes (model.go) that knows nothing of layers, and content, ranges and
// figures are compared. RunDurable does what needs an engine that can be closed
// and opened again in the same directory. Bench measures.
//
// The opener makes an engine without volumes; the suite closes it. Openers may
// close it too, since Close is idempotent.
//
// Model checks run from a seed that is printed. These environment variables
// change them:
//
//	STORETEST_SEED   the seed of the first sequence, to replay a failure
//	STORETEST_OPS    operations of each sequence
//	STORETEST_RUNS   sequences
//
// What the contract leaves open is left open: where a block of zeros may or may
// not stay allocated, both pass; space that returns in the background is waited
// for. Goroutines that the suite starts end with the subtest that starts them.
package storetest
