package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"usdt.local/go-stubs/libraries/usdtaws"
)

func callAWS() {
	calls := 0
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		if calls > 1 {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>")
			return
		}
		io.WriteString(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>1</Account></GetCallerIdentityResult></GetCallerIdentityResponse>")
	}))
	defer service.Close()
	client := sts.New(sts.Options{
		Region:       "eu-west-1",
		BaseEndpoint: &service.URL,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
		}),
		APIOptions: []func(*middleware.Stack) error{usdtaws.AddMiddleware},
	})
	ctx := context.Background()
	_, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	must(err)
	_, err = client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	mustFail(err)
}
