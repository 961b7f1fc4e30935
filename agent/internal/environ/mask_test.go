package environ

import "testing"

func TestMaskHidesSecrets(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"export LOG_LEVEL='debug'\n", "export LOG_LEVEL='debug'\n"},
		{"export API_TOKEN='s3cret'\n", "export API_TOKEN=(not shown)\n"},
		{"api_key=x", "api_key=(not shown)"},
		{"#gofleet:shipped GOAUTH=netrc\nGOPROXY=off\n", "#gofleet:shipped GOAUTH=(not shown)\nGOPROXY=off\n"},
		{"GOPROXY=https://me:pw@a.corp/x,https://b.corp,http://u@c\n", "GOPROXY=https://(not shown)@a.corp/x,https://b.corp,http://(not shown)@c\n"},
		{"GOPROXY='https://a.corp' # mail me@a.corp\n", "GOPROXY='https://a.corp' # mail me@a.corp\n"},
		{"# keys: PASS=x\n", "# keys: PASS=x\n"},
	} {
		if got := mask([]byte(tt.in)); got != tt.want {
			t.Errorf("mask(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
