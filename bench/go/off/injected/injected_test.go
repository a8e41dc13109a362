package injected

import "testing"

func BenchmarkPlain(b *testing.B) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		Plain(uint64(i), "text")
	}
}

func BenchmarkDefault(b *testing.B) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		Default(uint64(i), "text")
	}
}

func BenchmarkCopy(b *testing.B) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		Copy(uint64(i), "text")
	}
}

func BenchmarkPlainLeaf(b *testing.B) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		PlainLeaf(uint64(i), "text")
	}
}

func BenchmarkDefaultLeaf(b *testing.B) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		DefaultLeaf(uint64(i), "text")
	}
}

func BenchmarkCopyLeaf(b *testing.B) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		CopyLeaf(uint64(i), "text")
	}
}
