// A file of one-line comments.
provider lines { // really
	// First.
	probe one(); // tail
	//// Second.
	probe two(int a /* inner */, int b);
};
// end