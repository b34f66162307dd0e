package main

import "github.com/spf13/cobra"

func newIO() *cobra.Command { return noun("io", "Read and write through a real iSCSI session") }
